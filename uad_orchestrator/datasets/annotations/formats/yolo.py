"""YOLO: a text file per image, a line per object in parts of width and height, as Ultralytics writes it.

``class x y width height`` (of the centre) is a box, ``class x1 y1 x2 y2 x3 y3 ...`` a polygon. An image's file lies
beside it, or in ``labels`` where the image lies in ``images``; without one, or with an empty one, an image is normal.
The classes' names are those of ``data.yaml`` (``names:``) or ``classes.txt``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import yaml

from uad_orchestrator.datasets.annotations.annotation_files import EntryError, files_below, number, points_of
from uad_orchestrator.datasets.annotations.marks import AnnotatedImage, Annotations, Box, Mark, Polygon, Shape
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import IMAGE_SUFFIXES

_NOT_LABELS = (
    "classes.txt", "notes.txt", "readme.txt", "readme.dataset.txt", "readme.roboflow.txt", "test.txt", "train.txt",
    "val.txt", "valid.txt",
)  # fmt: skip


def read(sources: Sequence[Path], images: Path) -> Annotations:
    """The images that have a text file below folders, or below the folder of a ``data.yaml``.

    Raises:
        DatasetError: there is no such file or folder.
    """
    found = Annotations()
    for source in sources:
        if source.is_dir():
            _read_folder(found, source, images, _find_names(source))
        elif source.is_file() and source.suffix.lower() in (".yaml", ".yml"):
            _read_folder(found, source.parent, images, source)
        else:
            raise DatasetError(f"{source}: expected a data.yaml, or the folder with images and labels")
    return found


def _read_folder(found: Annotations, folder: Path, images: Path, names_file: Path | None) -> None:
    names = _names(found, names_file) if names_file else None
    if names is None and not found.problems:
        found.notes.append(
            f"{folder}: no data.yaml or classes.txt with names: classes are called class_0, class_1, ..."
        )
    labels = {
        _key(path.relative_to(folder)): path
        for path in files_below(folder, (".txt",))
        if path.name.lower() not in _NOT_LABELS
    }
    taken: dict[Path, Path] = {}
    for image in files_below(images, IMAGE_SUFFIXES):
        path = labels.get(_key(image.relative_to(images)))
        if path is None:
            continue
        if path in taken:
            found.complain(
                path, f"belongs to {taken[path].name} and to {image.name}; rename one of the images"
            )
            continue
        taken[path] = image
        marks = _marks(found, path, names)
        found.images.append(AnnotatedImage(str(image.absolute()), path, "", marks=marks, relative=True))
    for path in labels.values():
        if path not in taken:
            found.complain(
                path, "no image of that name; expected it beside it, or in images/ where this is in labels/"
            )


def _key(path: Path) -> str:
    """A path without extension and without its folder ``images`` or ``labels``: equal for an image and its labels."""
    parts = PurePosixPath(path.as_posix()).with_suffix("").parts
    return "/".join([*(part for part in parts[:-1] if part not in ("images", "labels")), parts[-1]])


def _find_names(folder: Path) -> Path | None:
    usual = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "labels/classes.txt", "obj.names")
    return next((folder / name for name in usual if (folder / name).is_file()), None)


def _names(found: Annotations, path: Path) -> Mapping[int, str] | None:
    """The classes' names by number; None, and a problem noted, where the file has none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() not in (".yaml", ".yml"):
            return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        found.complain(path, f"cannot be read: {error}")
        return None
    if isinstance(content, dict) and content.get("kpt_shape"):
        found.complain(path, "kpt_shape: these are key points, no outlines; export boxes or polygons")
        return None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return dict(enumerate(map(str, names)))
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        return {key: str(name) for key, name in names.items()}
    found.complain(path, "no names; expected the classes' names as a list, or by their number")
    return None


def _marks(found: Annotations, path: Path, names: Mapping[int, str] | None) -> tuple[Mark, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found.complain(path, f"cannot be read: {error}")
        return ()
    marks: list[Mark] = []
    seen: dict[str, int] = {}
    for place, line in enumerate(lines, 1):
        if not line.strip() or seen.setdefault(line.strip(), place) != place:
            continue  # the same object once more says nothing
        try:
            word, *values = line.split()
            marks.append(Mark(_word(word, names), f"line {place}", _shape(values)))
        except EntryError as error:
            found.complain(path, f"line {place}: {error}")
    return tuple(marks)


def _word(value: str, names: Mapping[int, str] | None) -> str:
    index = number(value, "the class")
    if not index.is_integer() or index < 0:
        raise EntryError(f"the class is {value}; expected a whole number")
    if names is None:
        return f"class_{int(index)}"
    if int(index) not in names:
        raise EntryError(f"class {int(index)} is none of {len(names)} names; correct it or the names' file")
    return names[int(index)]


def _shape(values: Sequence[str]) -> Shape:
    if len(values) == 4:
        x, y, width, height = (number(value, "a coordinate") for value in values)
        return Box(x - width / 2, y - height / 2, width, height)
    if len(values) < 6 or len(values) % 2:
        raise EntryError(
            f"{len(values)} numbers behind the class; expected 4 of a box, or x and y of at least three points"
        )
    return Polygon(points_of(values))
