"""What a folder of pages is made from: categories with their images, cells with what is read when a page is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from uad_orchestrator.datasets.manifest import ImageRecord
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.html_report import CellSection, WarningPicture
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale


@dataclass(frozen=True)
class CellContents:
    """What the page of a cell shows.

    Attributes:
        section: figures, scores and provenance.
        anomaly_map: the map of a test image, ``(H, W)`` raw values, by the image's name; None: there are none.
        mapped: the images that have one.
        scale: the colours of its maps; None where there are none.
        pictures: of what is said of the cell and its category, the images it is about.
    """

    section: CellSection
    anomaly_map: Callable[[str], np.ndarray] | None = None
    mapped: frozenset[str] = frozenset()
    scale: HeatmapScale | None = None
    pictures: Mapping[CellWarning, Sequence[WarningPicture]] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownCell:
    """A cell with a report.

    Attributes:
        detector: its detector.
        version: of all that ``CellContents`` holds; while it stays, the page is not drawn again.
        maps_version: of its maps and their colours; while it stays, they are not drawn again.
        read: what the page shows; None where its artifacts turn out to be damaged.
    """

    detector: str
    version: str
    maps_version: str
    read: Callable[[], CellContents | None]


@dataclass(frozen=True)
class ShownCategory:
    """A category with at least one such cell.

    Attributes:
        key: ``dataset/category``.
        images: all that is scored, in order.
        reading: digest of how images are read.
        image: an image by its name, ``(H, W, 3)`` RGB.
        mask: the ground truth of a test image, ``(H, W)`` bool; None where there is none.
        cells: in order.
    """

    key: str
    images: Sequence[ImageRecord]
    reading: str
    image: Callable[[str], np.ndarray]
    mask: Callable[[str], np.ndarray | None]
    cells: Sequence[ShownCell]
