"""Pascal VOC: an XML file per image with an ``object`` per defect: its ``name`` and its ``bndbox``.

Boxes are boxes; where an object has a ``polygon`` as well (Roboflow, labelme2voc), it is a mask. The files are read
by defusedxml: a document type or an entity is an error, nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uad_orchestrator.datasets.annotations.annotation_files import (
    EntryError,
    contents_of_format,
    folder_below,
    number,
    points_of,
    size_of,
)
from uad_orchestrator.datasets.annotations.marks import AnnotatedImage, Annotations, Box, Mark, Polygon, Shape
from uad_orchestrator.extras import require_extra

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def read(sources: Sequence[Path], images: Path) -> Annotations:
    """The images of VOC files, or of all that lie below folders.

    Raises:
        ImportError: defusedxml is not installed.
        DatasetError: there is no such file.
    """
    require_extra("defusedxml", extra="import", what="uad import voc")
    found = Annotations()
    for path, root in contents_of_format(found, sources, ".xml", "VOC", _parse, _fault):
        _read_file(found, path, root, folder_below(sources, path))
    return found


def _fault(root: Element) -> str:
    return "" if root.tag == "annotation" else f"its root is <{root.tag}>; expected VOC's <annotation>"


def _parse(found: Annotations, path: Path) -> Element | None:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(path.read_bytes(), forbid_dtd=True)
    except DefusedXmlException:
        found.complain(path, "has a document type or entities, which annotations do not need; take them out")
    except (ParseError, OSError, ValueError, LookupError, RecursionError) as error:
        found.complain(path, f"cannot be read as XML: {error}")
    else:
        return root
    return None


def _read_file(found: Annotations, path: Path, root: Element, folder: str) -> None:
    name = _text(root, "filename")
    if not name:
        found.complain(path, "no <filename>; expected the image's file")
        return
    try:
        size = size_of(_text(root, "size/height"), _text(root, "size/width"))
    except EntryError as error:
        found.complain(path, f"<size>: {error}")
        size = None
    marks = []
    for place, item in enumerate(root.findall("object"), 1):
        try:
            marks.append(Mark(_text(item, "name"), f"object {place}", _shape(item)))
        except EntryError as error:
            found.complain(path, f"object {place}: {error}")
    found.images.append(AnnotatedImage(name, path, "<filename>", size, tuple(marks), folder=folder))


def _shape(item: Element) -> Shape | None:
    outline, box = item.find("polygon"), item.find("bndbox")
    if outline is not None and len(outline):
        return Polygon(points_of(_corners(outline), "<polygon>"))
    if box is None:
        return None
    left, top, right, bottom = (
        number(_text(box, side), f"<{side}>") for side in ("xmin", "ymin", "xmax", "ymax")
    )
    return Box(left, top, right - left, bottom - top)


def _corners(outline: Element) -> list[str]:
    """x and y in turn: of ``<x1><y1><x2><y2>...``, or of ``<pt><x><y></pt>``."""
    points = outline.findall("pt")
    if points:
        return [_text(point, axis) for point in points for axis in ("x", "y")]
    return [
        _text(outline, f"{axis}{place}") for place in range(1, len(outline) // 2 + 1) for axis in ("x", "y")
    ]


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
