"""A CSV table of annotations: a row per annotation, or per image where it is normal.

========== ===================================================================================================
column     also called
========== ===================================================================================================
image      image_path, filename, file_name, path
label      class, category, defect_type; empty or a word for normals: the row is of a normal image
xmin, ymin, xmax, ymax    x1, y1, x2, y2; a box in pixels
polygon    segmentation; x and y in turn, parted by spaces, commas or semicolons, or as JSON
height, width             the image's size in pixels, where it is to be checked
split      subset; train, validation or test
group_id   group; the physical part
========== ===================================================================================================

Columns are parted by commas, semicolons or tabs, as the header is. Only ``image`` and ``label`` have to be there. A row
with a label, but neither box nor polygon, speaks of the image as a whole.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from uad_orchestrator.datasets.annotations.annotation_files import (
    EntryError,
    annotation_files,
    number,
    points_of,
    size_of,
)
from uad_orchestrator.datasets.annotations.marks import AnnotatedImage, Annotations, Box, Mark, Polygon, Shape
from uad_orchestrator.datasets.csv_tables import open_csv

_COLUMNS = {
    "image": ("image", "image_path", "filename", "file_name", "path"),
    "label": ("label", "class", "category", "defect_type"),
    "xmin": ("xmin", "x1", "x_min"),
    "ymin": ("ymin", "y1", "y_min"),
    "xmax": ("xmax", "x2", "x_max"),
    "ymax": ("ymax", "y2", "y_max"),
    "polygon": ("polygon", "segmentation"),
    "height": ("height", "image_height"),
    "width": ("width", "image_width"),
    "split": ("split", "subset"),
    "group_id": ("group_id", "group"),
}
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(sources: Sequence[Path], images: Path) -> Annotations:
    """The images of CSV tables, or of all that lie below folders.

    Raises:
        DatasetError: there is no such file.
    """
    found = Annotations()
    for path in annotation_files(sources, ".csv"):
        try:
            with open_csv(path) as table:
                _read_table(found, path, table)
        except UnicodeDecodeError as error:
            found.complain(path, f"is not UTF-8: {error}; save it as CSV UTF-8")
        except (OSError, csv.Error) as error:
            found.complain(path, f"cannot be read: {error}")
    return found


def _read_table(found: Annotations, path: Path, table: csv.DictReader[str]) -> None:
    header = {(name or "").strip().lower(): name for name in table.fieldnames or ()}
    columns = {
        column: next((header[name] for name in names if name in header), None)
        for column, names in _COLUMNS.items()
    }
    missing = [column for column in ("image", "label") if columns[column] is None]
    if missing:
        expected = "; ".join(f"{column} (or {', '.join(_COLUMNS[column][1:])})" for column in missing)
        found.complain(path, f"no column {expected}; the header is {', '.join(header) or 'empty'}")
        return
    images: dict[str, AnnotatedImage] = {}
    for row in table:
        values = {column: (row.get(name) or "").strip() for column, name in columns.items() if name}
        entry = f"line {table.line_num}"
        try:
            _add(images, path, entry, values)
        except EntryError as error:
            found.complain(path, f"{entry}: {error}")
    found.images += images.values()


def _add(images: dict[str, AnnotatedImage], path: Path, entry: str, values: Mapping[str, str]) -> None:
    """One row more of an image."""
    name = values["image"]
    if not name:
        raise EntryError("no image; expected its path")
    size = size_of(values.get("height"), values.get("width"))
    split, group = values.get("split") or None, values.get("group_id") or None
    image = images.setdefault(name, AnnotatedImage(name, path, entry, size, split=split, group=group))
    for what, first, own in (
        ("size", image.size, size),
        ("split", image.split, split),
        ("group", image.group, group),
    ):
        if first != own:
            raise EntryError(f"{what} {own}, but {first} in {image.entry}; an image has one")
    shape = _shape(values)
    if shape is not None and not values["label"]:
        raise EntryError("a box or polygon without a label; expected the kind of defect")
    if values["label"]:
        images[name] = replace(image, marks=(*image.marks, Mark(values["label"], entry, shape)))


def _shape(values: Mapping[str, str]) -> Shape | None:
    if outline := values.get("polygon"):
        return Polygon(points_of(re.split(r"[\s,;\[\]()]+", outline.strip(" ,;[]()"))))
    given = [side for side in _SIDES if values.get(side)]
    if not given:
        return None
    if len(given) < len(_SIDES):
        raise EntryError(f"a box with {', '.join(given)} only; expected {', '.join(_SIDES)}")
    left, top, right, bottom = (number(values[side], side) for side in _SIDES)
    return Box(left, top, right - left, bottom - top)
