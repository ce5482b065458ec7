"""COCO: one JSON file with ``images``, ``annotations`` and ``categories``, as of https://cocodataset.org/#format-data.

Polygons and run lengths (compressed or not, of crowds too) are masks, drawn as pycocotools draws them; an annotation
with a ``bbox`` alone is a box, one with neither speaks of the image as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.annotations.annotation_files import (
    EntryError,
    contents_of_format,
    number,
    points_of,
    read_json_object,
    size_of,
    whole_number,
)
from uad_orchestrator.datasets.annotations.marks import (
    AnnotatedImage,
    Annotations,
    Box,
    CocoPolygons,
    Mark,
    RunLengths,
    Shape,
)
from uad_orchestrator.extras import require_extra

_SECTIONS = ("images", "annotations", "categories")


def read(sources: Sequence[Path], images: Path) -> Annotations:
    """The images of COCO files, or of all that lie below folders.

    Raises:
        ImportError: pycocotools is not installed.
        DatasetError: there is no such file.
    """
    require_extra("pycocotools", extra="import", what="uad import coco")
    found = Annotations()
    for path, content in contents_of_format(found, sources, ".json", "COCO", read_json_object, _fault):
        _read_file(found, path, content)
    return found


def _fault(content: Mapping[str, Any]) -> str:
    missing = [section for section in _SECTIONS if not isinstance(content.get(section), list)]
    return f"no list {' and '.join(missing)}; expected COCO's {', '.join(_SECTIONS)}" if missing else ""


def _read_file(found: Annotations, path: Path, content: Mapping[str, Any]) -> None:
    words = _by_id(found, path, content["categories"], "category")
    images = _by_id(found, path, content["images"], "image")
    marks: dict[Any, list[Mark]] = {key: [] for key in images}
    for key, annotation in _by_id(found, path, content["annotations"], "annotation").items():
        entry = f"annotation {key}"
        try:
            image, word = annotation.get("image_id"), words.get(annotation.get("category_id"))
            if image not in images:
                raise EntryError(f"image_id {image!r:.60} is none of the file's images")
            if word is None:
                raise EntryError(
                    f"category_id {annotation.get('category_id')!r:.60} is none of the file's categories"
                )
            marks[image].append(Mark(str(word.get("name") or ""), entry, _shape(annotation)))
        except (EntryError, TypeError) as error:  # TypeError: a list where an id should stand
            found.complain(path, f"{entry}: {error}")
    for key, image in images.items():
        try:
            size = size_of(image.get("height"), image.get("width"))
        except EntryError as error:
            found.complain(path, f"image {key}: {error}")
            continue
        name = image.get("file_name")
        if isinstance(name, str) and name:
            found.images.append(AnnotatedImage(name, path, f"image {key}", size, tuple(marks[key])))
        else:
            found.complain(path, f"image {key}: file_name is {name!r:.60}; expected the image's file")


def _by_id(found: Annotations, path: Path, entries: Sequence[Any], what: str) -> dict[Any, Mapping[str, Any]]:
    """The entries of a section by their ids; what is none, or has no id of its own, is noted.

    Nothing refers to annotations: where one has no id, its place in the list stands for it.
    """
    kept: dict[Any, Mapping[str, Any]] = {}
    for place, entry in enumerate(entries):
        key = entry.get("id") if isinstance(entry, dict) else None
        if key is None and isinstance(entry, dict) and what == "annotation":
            key = f"at place {place}"
        if not isinstance(key, int | str):
            found.complain(path, f"{what} at place {place}: no id; expected an object with one")
        elif key in kept:
            found.complain(path, f"{what} {key} stands there twice; each id is given once")
        else:
            kept[key] = entry
    return kept


def _shape(annotation: Mapping[str, Any]) -> Shape | None:
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        return _run_lengths(outline)
    if outline:
        if not isinstance(outline, list):
            raise EntryError(f"segmentation is {outline!r:.60}; expected polygons or run lengths")
        parts = outline if isinstance(outline[0], list) else [outline]
        return CocoPolygons(tuple(points_of(part) for part in parts))
    box = annotation.get("bbox")
    if not box:
        return None
    if not isinstance(box, list) or len(box) != 4:
        raise EntryError(f"bbox is {box!r:.60}; expected [x, y, width, height]")
    return Box(*(number(value, "bbox") for value in box))


def _run_lengths(outline: Mapping[str, Any]) -> RunLengths:
    counts, size = outline.get("counts"), outline.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise EntryError(f"the size of its run lengths is {size!r:.60}; expected [height, width]")
    height, width = (whole_number(value, "the size of its run lengths") for value in size)
    if isinstance(counts, list):
        return RunLengths(tuple(whole_number(count, "a run length") for count in counts), (height, width))
    if not isinstance(counts, str) or not counts.isascii():
        raise EntryError(f"counts is {counts!r:.60}; expected run lengths, or COCO's text of them")
    return RunLengths(counts, (height, width))
