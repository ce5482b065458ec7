"""What a reader of the board must know of its figures: why some are empty, and over which images others are."""

from __future__ import annotations

from collections.abc import Iterator

from uad_orchestrator.metrics.catalogue import find, in_reading_order
from uad_orchestrator.metrics.thresholds.operating_point import TEST_LABELS
from uad_orchestrator.reporting.board.columns import column
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.board.means import NOT_MEASURED
from uad_orchestrator.reporting.board.row import LeaderboardRow


def remarks(board: Leaderboard) -> list[str]:
    """A sentence for each category and remark, which names the detectors where it is not of all of them.

    Args:
        board: the leaderboard.

    Returns:
        The sentences, in the board's order.
    """
    said: dict[tuple[str, str], list[str]] = {}
    for row in board.compared:
        for remark in _of_row(row):
            said.setdefault((row.category_key, remark), []).append(row.detector)
    measured: dict[str, int] = {}
    for row in board.compared:
        measured[row.category_key] = measured.get(row.category_key, 0) + (row.model is not None)
    listed = [
        f"{category}{'' if len(detectors) == measured[category] else ' ' + ', '.join(detectors)}: {remark}"
        for (category, remark), detectors in said.items()
    ]
    return listed + [
        f"{row.category_key} {row.detector}: its {of} threshold was {TEST_LABELS}, which flatters its figures"
        for row in board.rows
        if not row.repeats  # each seed has its own
        for of, source in (("image", row.threshold_source), ("pixel", row.pixel_threshold_source))
        if source is not None and f"; {TEST_LABELS}" in source
    ]


def _of_row(row: LeaderboardRow) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for name in in_reading_order(name for name in row.reasons if find(name)):
        by_reason.setdefault(row.reasons[name], []).append(column(name).heading)
    for reason, names in by_reason.items():
        if reason != NOT_MEASURED and not row.repeats:
            yield f"no {', '.join(names)}: {reason}"
    masked, defective = row.n_test_masked, row.n_test_anomalous
    if masked and defective and masked < defective:
        yield f"pixel metrics are over {masked} of {defective} defective images: the others have no mask"
    if row.false_positive_rate_from:
        yield f"the false-positive rate is of {row.false_positive_rate_from}: there are no good test images"
