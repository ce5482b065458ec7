"""The rows of a board, each read from what became of its cell; not compared with one another yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from uad_orchestrator.reporting.board.row import OTHER_METRICS, PROMISE, BoardCell, LeaderboardRow

if TYPE_CHECKING:
    from uad_orchestrator.metrics.report import MetricsReport, OperatingPointReport
    from uad_orchestrator.metrics.thresholds.costs import Costs


class BoardRows(NamedTuple):
    """What a board takes of its cells; of thousands, much less than their reports.

    Attributes:
        rows: a row per cell, not compared with others yet.
        replicates: of the image AUROC, of fresh cells.
        images: normal and anomalous test images that the interval of the image AUROC counts with.
    """

    rows: list[LeaderboardRow]
    replicates: dict[tuple[str, str], np.ndarray]
    images: dict[tuple[str, str], tuple[float, float]]


def board_rows(
    cells: Iterable[tuple[tuple[str, str], MetricsReport | BoardCell | str]], costs: Costs | None = None
) -> BoardRows:
    """The rows of some cells; each cell is let go of before the next one is taken.

    Args:
        cells: as ``build_leaderboard`` has them, one after the other.
        costs: likewise.

    Returns:
        The rows, with what comparing them needs.

    Raises:
        ValueError: a category key that is not ``dataset/category``.
    """
    found = BoardRows([], {}, {})
    for key, cell in cells:
        outcome = _outcome(cell)
        found.rows.append(_row(*key, outcome, costs))
        if outcome.status == "fresh" and outcome.replicates is not None:
            found.replicates[key] = outcome.replicates
        if outcome.report is not None and (known := outcome.report.interval("image_auroc")) is not None:
            found.images[key] = (known.n_normal, known.n_anomalous)
    found.rows.sort(key=lambda row: (row.category_key, row.detector))
    return found


def _outcome(cell: MetricsReport | BoardCell | str) -> BoardCell:
    if isinstance(cell, str):
        return BoardCell("missing", reason=cell)
    return cell if isinstance(cell, BoardCell) else BoardCell("fresh", cell)


def _row(category_key: str, detector: str, cell: BoardCell, costs: Costs | None) -> LeaderboardRow:
    dataset, separator, category = category_key.partition("/")
    if not (dataset and separator and category):
        raise ValueError(f"the category key {category_key!r} is not of the form dataset/category")
    figures = {} if cell.report is None else _figures(cell.report, costs)
    version = figures.pop("version", None)
    return LeaderboardRow(
        dataset=dataset,
        category=category,
        detector=detector,
        status=cell.status,
        reason=cell.reason,
        version=cell.version or version,
        **figures,
    )


def _figures(report: MetricsReport, costs: Costs | None) -> dict[str, Any]:
    """A report's share of a row, under the published names."""
    image, pixel = report.image_operating_point, report.pixel_operating_point
    expected, no_cost = _expected_cost(image, costs)
    of_review = {} if report.review is None else report.review.reasons
    reasons = {**image.reasons, **report.timings.reasons, **of_review, **no_cost}
    measured = [name for name in OTHER_METRICS if name not in expected]
    known = report.every_interval()
    intervals = {
        name: (known[name].low, known[name].high) for name in (*report.metrics, *measured) if name in known
    }
    return {
        **report.metrics,
        "image_auroc_interval": intervals.get("image_auroc"),
        "intervals": intervals,
        "model": report.model,
        "version": report.versions.get("metrics_report"),
        "threshold": image.threshold,
        "threshold_source": image.source,
        **image.promise,
        "pixel_threshold": pixel.threshold,
        "pixel_threshold_source": pixel.source,
        **{f"pixel_{name}": rate for name, rate in pixel.promise.items()},
        "contamination": image.contamination,
        "false_positive_rate_from": image.false_positive_rate_from,
        **report.counts.model_dump(include={"n_test_normal", "n_test_anomalous", "n_test_masked"}),
        "review_threshold": None if report.review is None else report.review.threshold,
        **{name: report.value(name) for name in measured},
        **expected,
        "reasons": report.reasons
        | {name: why for name, why in reasons.items() if name in (*OTHER_METRICS, *PROMISE)}
        | {f"pixel_{name}": pixel.reasons[name] for name in PROMISE if name in pixel.reasons},
    }


def _expected_cost(
    at: OperatingPointReport, costs: Costs | None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """The expected cost of a part, and why it is not known; no reason where nobody asks for it."""
    if costs is None:
        return {"expected_cost": None}, {}
    for rate in ("false_positive_rate", "recall"):
        if at.figures()[rate] is None:
            return {"expected_cost": None}, {"expected_cost": at.reasons[rate]}
    assert at.false_positive_rate is not None and at.recall is not None
    return {"expected_cost": costs.expected(at.false_positive_rate, 1 - at.recall)}, {}
