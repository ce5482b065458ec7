"""What annotation files say of images, in one form whatever the format: marks, each a word and a shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uad_orchestrator.datasets.problems import DatasetProblem


@dataclass(frozen=True)
class Polygon:
    """An outline.

    Attributes:
        points: ``(n, 2)`` float, x and y in pixels; with ``AnnotatedImage.relative`` parts of width and height.
    """

    points: np.ndarray


@dataclass(frozen=True)
class CocoPolygons:
    """The outlines of one COCO annotation, drawn as pycocotools draws them: the union of ``(n, 2)`` x and y."""

    parts: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class RunLengths:
    """COCO's run-length encoding, column by column.

    Attributes:
        counts: run lengths, or COCO's compressed text of them.
        size: ``(H, W)`` as the annotation says it.
    """

    counts: tuple[int, ...] | str
    size: tuple[int, int]


@dataclass(frozen=True)
class Bitmap:
    """A small mask ``(h, w)`` bool, its upper left corner at ``(left, top)`` of the image."""

    pixels: np.ndarray
    left: int
    top: int


@dataclass(frozen=True)
class Box:
    """A rectangle around a defect; it is no pixel-exact mask. In pixels, or parts as ``Polygon``'s points."""

    left: float
    top: float
    width: float
    height: float


Shape = Polygon | CocoPolygons | RunLengths | Bitmap | Box


@dataclass(frozen=True)
class Mark:
    """One annotation.

    Attributes:
        word: its category.
        entry: where it stands in its file, for messages, e.g. ``annotation 17``.
        shape: what it covers; None where the image as a whole is annotated.
    """

    word: str
    entry: str
    shape: Shape | None


@dataclass(frozen=True)
class AnnotatedImage:
    """What is said of one image; without marks it is normal.

    Attributes:
        file: the image's file as the annotation names it.
        source: the annotation file.
        entry: where the image stands in it, for messages.
        size: ``(H, W)`` as the annotation says it; None where it does not.
        marks: its annotations.
        split: the split that is said, in the annotation's own word; None: that of the folders.
        group: the physical part it shows, where that is said.
        folder: where the annotation file lies below the folder that was given, if images may lie in folders of the
            same names; empty: its paths are those below the images' folder.
        relative: shapes are in parts of width and height, as in YOLO's files.
    """

    file: str
    source: Path
    entry: str
    size: tuple[int, int] | None = None
    marks: tuple[Mark, ...] = ()
    split: str | None = None
    group: str | None = None
    folder: str = ""
    relative: bool = False


@dataclass
class Annotations:
    """What a reader found; the lists grow while files are read.

    Attributes:
        images: the images that are spoken of.
        problems: every fault, by annotation file.
        notes: what the person should know of how the files were read.
    """

    images: list[AnnotatedImage] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def complain(self, source: Path, message: str) -> None:
        """Note a fault of an annotation file, and read on."""
        self.problems.append(DatasetProblem(source.as_posix(), message))
