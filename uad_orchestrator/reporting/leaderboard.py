"""The leaderboard: a row per cell, whatever became of it, and the means that may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from uad_orchestrator.reporting.means import NOT_MEASURED, DatasetMeans, dataset_means
from uad_orchestrator.reporting.noise import with_trust
from uad_orchestrator.reporting.repeats import with_repeats

if TYPE_CHECKING:
    from uad_orchestrator.metrics.report import MetricsReport

Status = Literal["fresh", "stale", "missing", "failed"]
SHOWN_DECIMALS = 3


@dataclass(frozen=True)
class CellOutcome:
    """What became of a cell, where a report alone does not say it.

    Attributes:
        status: ``fresh`` (of the current versions), ``stale`` (a report, but of other versions), ``missing``
            (never made) or ``failed``.
        report: the newest report; needed for ``fresh`` and ``stale``.
        reason: why the cell is not fresh, in words a person can act on.
        version: version of the ``metrics_report`` artifact.
        replicates: of the image AUROC, from ``metrics.bootstrap``; of all cells of a category over the same
            test images. None where there is no image AUROC.

    Raises:
        ValueError: a report too many or too few, or no reason for a cell that is not fresh.
    """

    status: Status
    report: MetricsReport | None = None
    reason: str | None = None
    version: str | None = None
    replicates: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.status in ("fresh", "stale")) != (self.report is not None):
            raise ValueError(
                f"a {self.status} cell {'has no' if self.report is not None else 'needs a'} report"
            )
        if self.status != "fresh" and not self.reason:
            raise ValueError(f"a {self.status} cell needs the reason why it is {self.status}")


class LeaderboardRow(BaseModel):
    """One cell, or the mean of a detector's cells over several seeds. Every field is always there; what has no
    value is null and ``reasons`` says why.

    Metrics beyond the fixed ones (AUPRO at further limits) stand in fields of their own names.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    dataset: str
    category: str
    detector: str
    model: str | None = None
    status: Status
    reason: str | None = None
    version: str | None = None
    repeats: tuple[str, ...] = Field(
        (), description="the detectors, one per seed, that this row is the mean of"
    )
    repeat_of: str | None = Field(None, description="the detector that this row is one seed of")
    std: dict[str, float] = Field({}, description="standard deviation over the seeds, by figure")

    image_auroc: float | None = None
    image_auroc_interval: tuple[float, float] | None = Field(
        None, description="95 %, bootstrap over the test images"
    )
    within_noise_of: tuple[str, ...] = Field(
        (), description="detectors whose image AUROC here cannot be told apart: paired bootstrap, 95 %"
    )
    image_ap: float | None = None
    image_f1_max: float | None = None
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1_max: float | None = None
    aupro_0_3: float | None = Field(None, alias="aupro_0.3")
    aupro_0_05: float | None = Field(None, alias="aupro_0.05")

    threshold: float | None = Field(None, description="image threshold; anomalous means score > threshold")
    threshold_source: str | None = None
    pixel_threshold: float | None = None
    pixel_threshold_source: str | None = None
    contamination: float | None = Field(None, description="nominal false-positive rate of the thresholds")
    precision: float | None = None
    recall: float | None = Field(None, description="share of the defective test images above the threshold")
    f1: float | None = Field(None, description="at the threshold, unlike image_f1_max")
    false_positive_rate: float | None = Field(None, description="share of the normal test images above it")

    seconds_per_image_p50: float | None = None
    seconds_per_image_p95: float | None = None
    bank_rows: int | None = None
    bank_bytes: int | None = None
    reasons: dict[str, str] = Field(default_factory=dict, description="why a metric has no value")

    def value(self, key: str) -> Any:
        """A field by its published name, e.g. ``aupro_0.3``; None for a limit that was not evaluated."""
        name = {"aupro_0.3": "aupro_0_3", "aupro_0.05": "aupro_0_05"}.get(key, key)
        return getattr(self, name) if name in type(self).model_fields else (self.model_extra or {}).get(key)

    @property
    def category_key(self) -> str:
        """``dataset/category``."""
        return f"{self.dataset}/{self.category}"

    @property
    def measured(self) -> tuple[str, ...]:
        """The published names of the figures that repeats are averaged over."""
        known = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max")
        limits = ("aupro_0.3", "aupro_0.05", *(self.model_extra or {}))
        return (*known, *limits, *POINT_FIELDS, *SPEED, "bank_rows", "bank_bytes")


class Leaderboard(BaseModel):
    """All cells in order of dataset, category and detector, and the means per dataset.

    A detector with repeats has a row of means, followed by those of its seeds; it is the row of means that is
    compared with other detectors.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    rows: tuple[LeaderboardRow, ...]
    means: tuple[DatasetMeans, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The quality metrics that any row has, in reading order; AUPRO and sPRO limits from wide to narrow."""
        extra = {name for row in self.rows for name in row.model_extra or {}}
        overlaps = {name for name in extra if name.startswith(("aupro_", "spro_"))} | {
            "aupro_0.3",
            "aupro_0.05",
        }
        by_limit = sorted(overlaps, key=lambda n: (n.partition("_")[0], -float(n.partition("_")[2])))
        return (*FIXED_METRICS, *by_limit, *sorted(extra - overlaps))

    def counts(self) -> dict[Status, int]:
        """How many cells are fresh, stale, missing, failed."""
        statuses: tuple[Status, ...] = ("fresh", "stale", "missing", "failed")
        cells = [row for row in self.rows if not row.repeats]
        return {status: sum(row.status == status for row in cells) for status in statuses}

    @property
    def compared(self) -> tuple[LeaderboardRow, ...]:
        """The rows that stand for a detector: all but the single seeds."""
        return tuple(row for row in self.rows if row.repeat_of is None)

    def best(self) -> set[tuple[str, str, str]]:
        """``(category_key, detector, metric)`` of the best values per category, as far as they are shown.

        Only fresh rows compete, only where at least two do; values that look the same share the mark.
        """
        marked: set[tuple[str, str, str]] = set()
        for key in {row.category_key for row in self.rows}:
            rivals = [row for row in self.compared if row.category_key == key and row.status == "fresh"]
            for metric in (*self.metrics, "seconds_per_image_p50"):
                values = {row.detector: row.value(metric) for row in rivals if row.value(metric) is not None}
                winners = best_of(values, lowest=metric == "seconds_per_image_p50")
                marked.update((key, detector, metric) for detector in winners)
        return marked

    def within_noise(self) -> set[tuple[str, str]]:
        """``(category_key, detector)`` of the rows whose image AUROC cannot be told from the category's best."""
        best = self.best()
        return {
            (row.category_key, row.detector)
            for row in self.compared
            if (row.category_key, row.detector, "image_auroc") not in best
            and any((row.category_key, other, "image_auroc") in best for other in row.within_noise_of)
        }

    def to_json(self) -> str:
        """The board as JSON; fields under their published names."""
        return self.model_dump_json(by_alias=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Leaderboard:
        """Read what ``to_json`` wrote."""
        return cls.model_validate_json(text)


SPEED = ("seconds_per_image_p50", "seconds_per_image_p95")
POINT_FIELDS = ("precision", "recall", "f1", "false_positive_rate")
FIXED_METRICS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max")


def best_of(values: Mapping[str, float], *, lowest: bool = False) -> set[str]:
    """The names whose value is best as shown; none where fewer than two compete.

    Metrics are compared at the decimals that are shown, seconds at three significant digits.

    >>> sorted(best_of({"a": 0.98712, "b": 0.98709, "c": 0.5}))
    ['a', 'b']
    >>> best_of({"a": 0.9})
    set()
    """
    if len(values) < 2:
        return set()
    if lowest:
        shown = {name: float(f"{value:.3g}") for name, value in values.items()}
        return {name for name, value in shown.items() if value == min(shown.values())}
    shown = {name: round(value, SHOWN_DECIMALS) for name, value in values.items()}
    return {name for name, value in shown.items() if value == max(shown.values())}


def build_leaderboard(
    cells: Mapping[tuple[str, str], MetricsReport | CellOutcome | str],
    repeats: Mapping[str, Sequence[str]] | None = None,
) -> Leaderboard:
    """The board of all cells of a project.

    Args:
        cells: per (category key ``dataset/category``, detector): its report (taken as fresh), the reason why
            there is none, or a ``CellOutcome`` that also says ``stale`` or ``failed`` and the version.
        repeats: per detector of the project file with several seeds, the detectors it became.
    """
    outcomes = {key: _outcome(cell) for key, cell in cells.items()}
    rows = [_row(*key, outcomes[key]) for key in sorted(outcomes)]
    replicates = {
        key: outcome.replicates
        for key, outcome in outcomes.items()
        if outcome.status == "fresh" and outcome.replicates is not None
    }
    rows, replicates = with_repeats(rows, replicates, repeats or {})
    rows = with_trust(_completed(rows), replicates)
    metrics = Leaderboard(rows=tuple(rows), means=()).metrics
    datasets = sorted({row.dataset for row in rows})
    means = tuple(
        dataset_means([row for row in rows if row.dataset == name], metrics, replicates) for name in datasets
    )
    return Leaderboard(rows=tuple(rows), means=means)


def _outcome(cell: MetricsReport | CellOutcome | str) -> CellOutcome:
    if isinstance(cell, str):
        return CellOutcome("missing", reason=cell)
    return cell if isinstance(cell, CellOutcome) else CellOutcome("fresh", cell)


def _row(category_key: str, detector: str, cell: CellOutcome) -> LeaderboardRow:
    dataset, separator, category = category_key.partition("/")
    if not (dataset and separator and category):
        raise ValueError(f"the category key {category_key!r} is not of the form dataset/category")
    figures = {} if cell.report is None else _figures(cell.report)
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


def _completed(rows: Sequence[LeaderboardRow]) -> tuple[LeaderboardRow, ...]:
    """Every row with the metrics of all rows: null, with the reason, where its protocol does not measure it."""
    board = Leaderboard(rows=tuple(rows), means=())
    extra = {name for row in rows for name in row.model_extra or {}}
    completed = []
    for row in rows:
        silent = [name for name in board.metrics if row.value(name) is None and name not in row.reasons]
        reasons = row.reasons if row.model is None else dict.fromkeys(silent, NOT_MEASURED) | row.reasons
        fields = dict.fromkeys(extra - (row.model_extra or {}).keys())
        completed.append(row.model_copy(update={**fields, "reasons": reasons}))
    return tuple(completed)


def _figures(report: MetricsReport) -> dict[str, Any]:
    """A report's share of a row, under the published names."""
    image, pixel = report.image_operating_point, report.pixel_operating_point
    point_reasons = {name: image.reasons[name] for name in POINT_FIELDS if name in image.reasons}
    timing_reasons = {name: report.timings.reasons[name] for name in SPEED if name in report.timings.reasons}
    return {
        **report.metrics,
        "model": report.model,
        "version": report.versions.get("metrics_report"),
        "threshold": image.threshold,
        "threshold_source": image.source,
        "pixel_threshold": pixel.threshold,
        "pixel_threshold_source": pixel.source,
        "contamination": image.contamination,
        **{name: getattr(image, name) for name in POINT_FIELDS},
        **{name: getattr(report.timings, name) for name in SPEED},
        "bank_rows": report.bank.rows,
        "bank_bytes": report.bank.bytes,
        "reasons": {**report.reasons, **point_reasons, **timing_reasons},
    }
