"""labelme: a JSON file per image with ``imagePath`` and ``shapes``, as labelme 5 writes it.

``polygon``, ``circle`` and ``mask`` are masks; a ``rectangle`` is a box; ``line``, ``linestrip`` and ``point`` show
where a defect is, not which pixels it has, and count as the box around them. A flag that is set speaks of the image
as a whole.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.datasets.annotations.annotation_files import (
    EntryError,
    contents_of_format,
    folder_below,
    number,
    read_json_object,
    size_of,
)
from uad_orchestrator.datasets.annotations.marks import (
    AnnotatedImage,
    Annotations,
    Bitmap,
    Box,
    Mark,
    Polygon,
    Shape,
)

_FEWEST_POINTS = {
    "polygon": 3, "rectangle": 2, "circle": 2, "mask": 2, "line": 2, "linestrip": 2, "points": 1, "point": 1,
}  # fmt: skip


def read(sources: Sequence[Path], images: Path) -> Annotations:
    """The images of labelme files, or of all that lie below folders.

    Raises:
        DatasetError: there is no such file.
    """
    found = Annotations()
    for path, content in contents_of_format(found, sources, ".json", "labelme", read_json_object, _fault):
        _read_file(found, path, content, folder_below(sources, path))
    return found


def _fault(content: Mapping[str, Any]) -> str:
    name, shapes = content.get("imagePath"), content.get("shapes")
    fits = isinstance(name, str) and name and isinstance(shapes, list)
    return "" if fits else "no imagePath or no shapes; expected a file that labelme wrote"


def _read_file(found: Annotations, path: Path, content: Mapping[str, Any], folder: str) -> None:
    flags = content.get("flags")
    marks = [
        Mark(str(word), f"flag {word}", None)
        for word, is_set in (flags.items() if isinstance(flags, dict) else ())
        if is_set is True
    ]
    for place, shape in enumerate(content["shapes"]):
        entry = f"shape {place}"
        try:
            if not isinstance(shape, dict):
                raise EntryError(f"is {shape!r:.60}; expected an object")
            marks.append(Mark(str(shape.get("label") or ""), entry, _shape(shape)))
        except EntryError as error:
            found.complain(path, f"{entry}: {error}")
    try:
        size = size_of(content.get("imageHeight"), content.get("imageWidth"))
    except EntryError as error:
        found.complain(path, str(error))
        size = None
    name = content["imagePath"]
    found.images.append(AnnotatedImage(name, path, "imagePath", size, tuple(marks), folder=folder))


def _shape(shape: Mapping[str, Any]) -> Shape:
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"), kind)
    left, top = points.min(axis=0)
    if kind == "polygon":
        return Polygon(points)
    if kind == "circle":
        return Polygon(_circle(points[0], float(np.hypot(*(points[1] - points[0])))))
    if kind == "mask":
        return Bitmap(_bitmap(shape.get("mask")), round(left), round(top))
    return Box(left, top, *np.ptp(points, axis=0))


def _points(values: Any, kind: Any) -> np.ndarray:
    if not isinstance(kind, str) or kind not in _FEWEST_POINTS:
        raise EntryError(f"shape_type {kind!r:.60}; expected one of {', '.join(_FEWEST_POINTS)}")
    fewest = _FEWEST_POINTS[kind]
    if not isinstance(values, list) or len(values) < fewest:
        raise EntryError(f"a {kind} of points {values!r:.60}; expected at least {fewest} of [x, y]")
    if any(not isinstance(point, list) or len(point) != 2 for point in values):
        raise EntryError(f"points {values!r:.60}; expected [x, y] each")
    return np.array([[number(value, "a coordinate") for value in point] for point in values], float)


def _circle(centre: np.ndarray, radius: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    return centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _bitmap(text: Any) -> np.ndarray:
    """The PNG that labelme keeps of a mask, as ``(h, w)`` bool."""
    from PIL import Image

    if not isinstance(text, str):
        raise EntryError("a mask without its picture")
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as picture:
            return np.asarray(picture.convert("L")) > 0
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise EntryError(f"its mask cannot be read: {error}") from None
