"""The leaderboard: a row per cell, whatever became of it, and the means that may be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from uad_orchestrator.metrics.catalogue import board_metrics, find, headlines, in_reading_order, metrics_of
from uad_orchestrator.reporting.board.best import best_of
from uad_orchestrator.reporting.board.board_rows import BoardRows, board_rows
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.board.means import NOT_MEASURED, DatasetMeans, dataset_means
from uad_orchestrator.reporting.board.repeats import with_repeats
from uad_orchestrator.reporting.board.row import OTHER_METRICS, BoardCell, LeaderboardRow, Status
from uad_orchestrator.reporting.board.ties import with_ties
from uad_orchestrator.spelling import choose_from

if TYPE_CHECKING:
    from uad_orchestrator.metrics.report import MetricsReport
    from uad_orchestrator.metrics.thresholds.costs import Costs


class Leaderboard(BaseModel):
    """All cells in order of dataset, category and detector, and the means per dataset.

    A detector with repeats has a row of means, followed by those of its seeds; it is the row of means that is
    compared with other detectors.

    Attributes:
        schema_version: of the JSON.
        rows: the cells.
        means: per dataset.
        unreachable: datasets and categories whose images cannot be read now -> why.
        warnings: what speaks against figures of fresh cells.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    rows: tuple[LeaderboardRow, ...]
    means: tuple[DatasetMeans, ...]
    unreachable: dict[str, str] = {}
    warnings: tuple[CellWarning, ...] = ()

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of images and pixels that any row has, in reading order."""
        return in_reading_order({*board_metrics(), *(name for row in self.rows for name in row.metrics)})

    @cached_property
    def line_metrics(self) -> tuple[str, ...]:
        """The figures of the grey zone and of the line's costs that any row has."""
        names = [metric.name for metric in metrics_of("review", "line")]
        return tuple(name for name in names if any(row.value(name) is not None for row in self.rows))

    def counts(self) -> dict[Status, int]:
        """How many cells are fresh, stale, missing, failed.

        Returns:
            The number of cells by status; all four are there.
        """
        statuses: tuple[Status, ...] = ("fresh", "stale", "missing", "failed")
        cells = [row for row in self.rows if not row.repeats]
        return {status: sum(row.status == status for row in cells) for status in statuses}

    @property
    def compared(self) -> tuple[LeaderboardRow, ...]:
        """The rows that stand for a detector: all but the single seeds."""
        return tuple(row for row in self.rows if row.repeat_of is None)

    def best(self) -> set[tuple[str, str, str]]:
        """The best values per category, as far as they are shown.

        Only fresh rows compete, only where at least two do; values that look the same share the mark.

        Returns:
            ``(category_key, detector, metric)`` of each.
        """
        marked: set[tuple[str, str, str]] = set()
        of_category: dict[str, list[LeaderboardRow]] = {}
        for row in self.compared:
            if row.status == "fresh":
                of_category.setdefault(row.category_key, []).append(row)
        lower = (*metrics_of("line"), *headlines("cost"))
        for key, rivals in of_category.items():
            for metric in (*self.metrics, *(cost.name for cost in lower)):
                values = {row.detector: row.value(metric) for row in rivals if row.value(metric) is not None}
                marked.update((key, detector, metric) for detector in best_of(values, metric))
        return marked

    def within_noise(self) -> set[tuple[str, str]]:
        """The rows whose image AUROC is tied with the category's best.

        Returns:
            ``(category_key, detector)`` of each.
        """
        best = self.best()
        return {
            (row.category_key, row.detector)
            for row in self.compared
            if (row.category_key, row.detector, "image_auroc") not in best
            and any((row.category_key, other, "image_auroc") in best for other in row.within_noise_of)
        }

    def sorted_by(self, metric: str) -> Leaderboard:
        """The board with the best rows of each category first; rows without a value, or not fresh, come last.

        Args:
            metric: its name in ``metrics.catalogue``.

        Returns:
            a copy; the seeds of a detector with repeats stay behind their mean.

        Raises:
            ValueError: no row has such a figure; says which there are.
        """
        sortable = [*self.metrics, *OTHER_METRICS]
        if metric not in sortable:
            raise ValueError(f"no figure of the board is called {metric!r}: {choose_from(metric, sortable)}")
        known = find(metric)
        sign = 1 if known is not None and known.direction == "lower" else -1
        of_mean = {(row.category_key, row.detector): row for row in self.compared}

        def place(row: LeaderboardRow) -> tuple[object, ...]:
            ranked = of_mean.get((row.category_key, row.repeat_of or row.detector), row)
            value = ranked.value(metric) if ranked.status == "fresh" else None
            return row.category_key, value is None, sign * (value or 0), ranked.detector, row is not ranked

        return self.model_copy(update={"rows": tuple(sorted(self.rows, key=place))})

    def to_json(self) -> str:
        """The board as JSON.

        Returns:
            JSON text, fields under their published names.
        """
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> Leaderboard:
        """Read what ``to_json`` wrote.

        Args:
            text: JSON.

        Returns:
            The board.
        """
        return cls.model_validate_json(text)


def build_leaderboard(
    cells: Mapping[tuple[str, str], MetricsReport | BoardCell | str],
    repeats: Mapping[str, Sequence[str]] | None = None,
    unreachable: Mapping[str, str] | None = None,
    warnings: Sequence[CellWarning] = (),
    costs: Costs | None = None,
) -> Leaderboard:
    """The board of all cells of a project.

    Args:
        cells: per (category key ``dataset/category``, detector): its report (taken as fresh), the reason why
            there is none, or a ``BoardCell`` that also says ``stale`` or ``failed`` and the version.
        repeats: per detector of the project file with several seeds, the detectors it became.
        unreachable: datasets and categories whose images cannot be read now, and why.
        warnings: of the cells and their categories.
        costs: what wrong decisions cost; None: nobody says, and rows have no expected cost.

    Returns:
        A row per cell, and the means of each dataset.

    Raises:
        ValueError: a category key that is not ``dataset/category``.
    """
    return board_of(board_rows(cells.items(), costs), repeats, unreachable, warnings)


def board_of(
    found: BoardRows,
    repeats: Mapping[str, Sequence[str]] | None = None,
    unreachable: Mapping[str, str] | None = None,
    warnings: Sequence[CellWarning] = (),
) -> Leaderboard:
    """The board of rows that were read before; arguments as ``build_leaderboard`` has them."""
    rows, replicates = with_repeats(_warned(found.rows, warnings), found.replicates, repeats or {})
    rows = with_ties(_completed(rows), replicates)
    metrics = Leaderboard(rows=tuple(rows), means=()).metrics
    of_dataset: dict[str, list[LeaderboardRow]] = {}
    for row in rows:
        of_dataset.setdefault(row.dataset, []).append(row)
    means = tuple(
        dataset_means(of_dataset[name], metrics, replicates, found.images) for name in sorted(of_dataset)
    )
    away = dict(unreachable or {})
    return Leaderboard(rows=tuple(rows), means=means, unreachable=away, warnings=tuple(warnings))


def _warned(rows: Sequence[LeaderboardRow], warnings: Sequence[CellWarning]) -> list[LeaderboardRow]:
    """The rows; the fresh ones with the number of warnings of their cell and of its whole category."""
    said = Counter((warning.category, warning.detector) for warning in warnings)

    def warned(row: LeaderboardRow) -> LeaderboardRow:
        number = said[row.category_key, row.detector] + said[row.category_key, None]
        return row.model_copy(update={"warnings": number}) if number and row.status == "fresh" else row

    return [warned(row) for row in rows]


def _completed(rows: Sequence[LeaderboardRow]) -> tuple[LeaderboardRow, ...]:
    """Every row with the metrics of all rows: null, with the reason, where its protocol does not measure it."""
    board = Leaderboard(rows=tuple(rows), means=())
    completed = []
    for row in rows:
        without = [name for name in board.metrics if row.value(name) is None and name not in row.reasons]
        reasons = row.reasons if row.model is None else dict.fromkeys(without, NOT_MEASURED) | row.reasons
        fields = {name: None for name in board.metrics if name not in row.metrics}
        lacks = fields or reasons != row.reasons  # few rows do, and a copy takes its time
        completed.append(row.model_copy(update={**fields, "reasons": reasons}) if lacks else row)
    return tuple(completed)
