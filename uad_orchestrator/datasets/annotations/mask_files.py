"""Masks of annotated images, drawn and written one after the other."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uad_orchestrator.datasets.annotations.annotation_files import EntryError
from uad_orchestrator.datasets.annotations.image_rows import ImageRow, is_normal, problem
from uad_orchestrator.datasets.annotations.marks import AnnotatedImage, Box, Shape
from uad_orchestrator.datasets.annotations.rasterise import box_around, draw, in_pixels
from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.file_facts import image_size
from uad_orchestrator.images.header import reason_of, size_words


@dataclass
class MaskWriter:
    """Writes the mask of an image all of whose annotations are masks; the others get their boxes.

    Attributes:
        images: the images' folder.
        masks: where masks go, in the images' folders and names.
        normal: the categories that mean a normal image, in lower case.
        rectangles_are_boxes: whether polygons of four right angles are boxes.
        clip: whether shapes are cut off at the image's border.
        rectangles: how many polygons are rectangles so far.
    """

    images: Path
    masks: Path
    normal: AbstractSet[str]
    rectangles_are_boxes: bool
    clip: bool
    rectangles: int = 0

    def write(self, row: ImageRow, problems: list[DatasetProblem]) -> None:
        """Write an image's mask, if it has one, and set the row's ``mask`` or ``boxes``; faults are noted."""
        about = row.annotated
        size = self._size(row, about, problems) if about else None
        if about is None or size is None:
            return
        whole: np.ndarray | None = np.zeros(size, bool)
        boxes: list[Box] = []
        for mark in about.marks:
            if is_normal(mark, self.normal):
                continue
            try:
                shape = in_pixels(mark.shape, size) if about.relative else mark.shape
                drawn = None if shape is None else self._draw(shape, size, boxes)
            except EntryError as error:
                problems.append(problem(about, str(error), mark))
                continue
            whole = None if drawn is None or whole is None else whole | drawn
        if whole is None:
            row.boxes = boxes
        elif whole.any():
            row.mask = self._save(whole, row.path)

    def _size(
        self, row: ImageRow, about: AnnotatedImage, problems: list[DatasetProblem]
    ) -> tuple[int, int] | None:
        """The image's size by its own header, which nothing in an annotation can make huge; None, and a fault noted."""
        if about.size is None and not about.marks:
            return None
        path = self.images / row.path
        try:
            size = image_size(path)
        except ImageError as error:
            problems.append(DatasetProblem(row.path, reason_of(error, path)))
            return None
        if about.size not in (None, size):
            turned = "; is the file turned by EXIF?" if about.size == size[::-1] else ""
            message = f"says {size_words(about.size or size)}, but {row.path} is {size_words(size)}{turned}"
            problems.append(problem(about, f"{message}; is it the image that was annotated?"))
            return None
        return size

    def _draw(self, shape: Shape, size: tuple[int, int], boxes: list[Box]) -> np.ndarray | None:
        """The pixels of a shape; None where it is a box. Adds the box around it."""
        box = box_around(shape, size, clip=self.clip)
        if box is not None and not isinstance(shape, Box):
            self.rectangles += 1
        if box is not None and (isinstance(shape, Box) or self.rectangles_are_boxes):
            boxes.append(box)
            return None
        drawn = draw(shape, size, clip=self.clip)
        y, x = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
        boxes.append(Box(float(x[0]), float(y[0]), float(np.ptp(x)) + 1, float(np.ptp(y)) + 1))
        return drawn

    def _save(self, mask: np.ndarray, image: str) -> str:
        """Write a mask; of two images that differ in their extension only, the second keeps it in the mask's name."""
        from PIL import Image

        path = self.masks / image
        target = path.with_name(f"{path.stem}_mask.png")
        if target.exists():
            target = path.with_name(f"{path.name}_mask.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(target)
        return target.relative_to(self.masks).as_posix()
