"""Which part of the grid a command is about."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from uad_orchestrator.orchestration.graph import CELL_ASSETS, Cell
from uad_orchestrator.project.repeats import MARK


@dataclass(frozen=True)
class Selection:
    """Narrows the grid by globs; what is not given selects everything.

    Attributes:
        category: glob over ``dataset/category``, or over the category alone, e.g. ``mvtec_ad/*``, ``bottle``.
        detector: glob over the detectors' names; the name of one with ``repeats`` covers all its seeds.
        asset: one asset's name.

    >>> Selection(category="b*").covers(Cell("mvtec_ad/bottle", "patchcore"))
    True
    """

    category: str = "*"
    detector: str = "*"
    asset: str | None = None

    def __post_init__(self) -> None:
        known = (*CELL_ASSETS, "leaderboard")
        if self.asset is not None and self.asset not in known:
            raise ValueError(
                f"there is no benchmark asset {self.asset!r}: expected one of {', '.join(known)}"
            )

    def covers(self, cell: Cell) -> bool:
        """Whether the cell is selected."""
        by_category = fnmatchcase(cell.category, self.category) or fnmatchcase(
            cell.category_name, self.category
        )
        names = (cell.detector, cell.detector.partition(MARK)[0])
        return by_category and any(fnmatchcase(name, self.detector) for name in names)

    def names(self, asset: str) -> bool:
        """Whether the asset is selected."""
        return self.asset is None or self.asset == asset
