"""Which part of the grid a command is about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell
from uad_orchestrator.project import Project
from uad_orchestrator.project.parsing.repeats import MARK


@dataclass(frozen=True)
class Selection:
    """Narrows the grid by globs; what is not given selects everything.

    Attributes:
        categories: globs over ``dataset/category``, or over the category alone, e.g. ``mvtec_ad/*``, ``bottle``.
        detectors: globs over the detectors' names; the name of one with ``repeats`` covers all its seeds.
        asset: one asset's name.

    >>> Selection(categories=("b*",)).covers(Cell("mvtec_ad/bottle", "patchcore"))
    True
    """

    categories: tuple[str, ...] = ("*",)
    detectors: tuple[str, ...] = ("*",)
    asset: str | None = None

    def __post_init__(self) -> None:
        known = (*CELL_ASSETS, "leaderboard")
        if self.asset is not None and self.asset not in known:
            raise ValueError(
                f"there is no benchmark asset {self.asset!r}: expected one of {', '.join(known)}"
            )

    def covers(self, cell: Cell) -> bool:
        """Whether the cell is selected."""
        return any(_names_category(glob, cell) for glob in self.categories) and any(
            _names_detector(glob, cell) for glob in self.detectors
        )

    def names(self, asset: str) -> bool:
        """Whether the asset is selected."""
        return self.asset is None or self.asset == asset

    def away(self, project: Project) -> dict[str, str]:
        """The selected datasets and categories whose images cannot be read now, each with the reason."""
        return {
            place: why
            for place, why in project.unreachable.items()
            if (
                self.covers_category(place)
                if "/" in place
                else self._covers_dataset(place, project.category_keys())
            )
        }

    def covers_category(self, category: str) -> bool:
        """Whether a category is selected, whatever the detectors."""
        return any(_names_category(glob, Cell(category, "")) for glob in self.categories)

    def _covers_dataset(self, name: str, categories: Collection[str]) -> bool:
        """Whether any of its categories is selected; where none are known, whether a glob can mean one of them."""
        of_it = [category for category in categories if category.startswith(f"{name}/")]
        if of_it:
            return any(map(self.covers_category, of_it))
        return any(fnmatchcase(name, glob.partition("/")[0]) for glob in self.categories)

    def check(self, cells: Collection[Cell]) -> None:
        """Hold every glob against the grid.

        Raises:
            ValueError: one names no category, or no detector, of ``cells``; says what there is.

        >>> Selection(detectors=("patchcor",)).check([Cell("mvtec_ad/bottle", "patchcore")])
        Traceback (most recent call last):
        ValueError: --detector 'patchcor' matches none of: patchcore
        """
        for option, globs, named_by, name_of in (
            ("--category", self.categories, _names_category, lambda cell: cell.category),
            ("--detector", self.detectors, _names_detector, lambda cell: cell.detector),
        ):
            for glob in globs:
                if glob != "*" and not any(named_by(glob, cell) for cell in cells):
                    there = ", ".join(sorted({name_of(cell) for cell in cells})) or "(the grid is empty)"
                    raise ValueError(f"{option} {glob!r} matches none of: {there}")


def _names_category(glob: str, cell: Cell) -> bool:
    return fnmatchcase(cell.category, glob) or fnmatchcase(cell.category_name, glob)


def _names_detector(glob: str, cell: Cell) -> bool:
    return fnmatchcase(cell.detector, glob) or fnmatchcase(cell.detector.partition(MARK)[0], glob)
