"""Where pages, data and pictures lie in the report's folder, and how a page links to them.

Names of datasets, categories and detectors stand in paths as they are: the project file takes none that cannot name a
file. Names of images stand in none: their pictures are called by what they show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

INDEX = PurePosixPath("index.html")
ALL_DETECTORS = "_"
"""In the place of a detector, what all of a category share; no detector may be called so."""


@dataclass(frozen=True)
class CellAddress:
    """Where what is said of a cell lies, relative to the folder.

    Attributes:
        category: its key, ``dataset/category``.
        detector: its detector, or ``ALL_DETECTORS``.

    >>> str(CellAddress("line7/housing", "dino robust").page)
    'cells/line7/housing/dino robust.html'
    """

    category: str
    detector: str = ALL_DETECTORS

    @property
    def page(self) -> PurePosixPath:
        """Its page."""
        return PurePosixPath("cells", self.category, f"{self.detector}.html")

    @property
    def data(self) -> PurePosixPath:
        """The script that hands its scores, or the category's images, to the pages of the category."""
        return PurePosixPath("data", self.category, f"{self.detector}.js")

    @property
    def pictures(self) -> PurePosixPath:
        """The folder of its pictures."""
        return PurePosixPath("pictures", self.category, self.detector)


def board_page(dataset: str, number: int) -> PurePosixPath:
    """The page of a part of a dataset's cells, numbered from 1."""
    return PurePosixPath("board", dataset, f"{number}.html")


def way_up(page: PurePosixPath) -> str:
    """The link from a page to the report's folder.

    >>> way_up(PurePosixPath("cells/line7/housing/dino.html")), way_up(INDEX)
    ('../../../', '')
    """
    return "../" * (len(page.parts) - 1)


def link(path: PurePosixPath, up: str = "") -> str:
    """A path as the address in a link; ``up`` leads from the page to the folder.

    >>> link(PurePosixPath("cells/line7/100 %/a#b.html"), "../")
    '../cells/line7/100%20%25/a%23b.html'
    """
    return up + quote(str(path))
