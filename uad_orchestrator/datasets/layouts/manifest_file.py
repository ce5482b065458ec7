"""A table that lists a user's images: JSON lines, CSV or Parquet.

The root is the file, or a folder with one ``manifest.{jsonl,csv,parquet}``; paths are relative to its folder, or
absolute below one of the folders that ``roots`` names.
A row: ``image_path``, ``category``, ``split`` (train, validation, test), ``label`` (0 or 1; may be missing
outside test), ``defect_type`` (else "bad"), ``mask_path`` (several: a list, in CSV parted by ``;``),
``group_id`` (images of one physical part), ``boxes`` (of a defective image without a mask: a list of
[x, y, width, height], in CSV as JSON or parted by ``;``; a box is not pixel-exact, so the image counts in image metrics
only). Rows that contradict each other are errors.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from pydantic import field_validator

from uad_orchestrator.datasets.csv_tables import open_csv
from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.manifest import Box, Split
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import NORMAL_WORDS, FoundImage, Scan, is_image_name

VERSION = 1
COLUMNS = ("image_path", "category", "split", "label", "defect_type", "mask_path", "group_id", "boxes")
_REQUIRED = COLUMNS[:3]
_AS_TEXT = tuple(column for column in COLUMNS if column not in ("mask_path", "boxes"))
_SUFFIXES = (".jsonl", ".csv", ".parquet")
_SPLITS = get_args(Split)[:3]


@dataclass(frozen=True)
class _Row:
    """A row as it stands in the file, everything as text; ``where`` is for messages."""

    where: str
    values: Mapping[str, str]
    masks: tuple[str, ...]
    boxes: str = ""


class ManifestSettings(LayoutSettings):
    """Where a table may lead.

    Attributes:
        roots: folders whose files may be named by absolute paths; relative ones lie below the manifest's folder.
    """

    roots: tuple[str, ...] = ()

    @field_validator("roots", mode="before")
    @classmethod
    def _one_folder(cls, roots: object) -> object:
        return (roots,) if isinstance(roots, str) else roots

    @field_validator("roots")
    @classmethod
    def _folders(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            if not root.strip() or "\0" in root or not Path(root).expanduser().name:
                raise ValueError(
                    f"holds {root!r}; expected folders such as /mnt/archive, never the whole disk"
                )
        return roots


class _Files:
    """Which files there are below a folder; a folder is listed once, which costs less than a look at each file.

    Args:
        base: what relative paths are relative to.
        roots: the folders below which a path may be absolute.
    """

    def __init__(self, base: str, roots: Iterable[str] = ()) -> None:
        self.base = base
        given = [Path(base, Path(root).expanduser()) for root in roots]
        self.roots = tuple(dict.fromkeys(str(path) for root in given for path in (root, root.resolve())))
        self._listed: dict[str, set[str]] = {}

    def allows(self, path: str) -> bool:
        """Whether a path stays where a table may lead."""
        if not path or {"\\", "\0"} & set(path) or ".." in path.split("/"):
            return False
        return not path.startswith("/") or any(path.startswith(f"{root}/") for root in self.roots)

    def has(self, path: str) -> bool:
        """Whether the file is there, as the file system understands its name."""
        parent, _, name = path.rpartition("/")
        if parent not in self._listed:
            self._listed[parent] = self._list(self._place(parent))
        return name in self._listed[parent] or os.path.isfile(self._place(path))  # noqa: PTH113 - fast

    def _place(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.base}/{path}"

    @staticmethod
    def _list(folder: str) -> set[str]:
        try:
            with os.scandir(folder) as entries:
                return {entry.name for entry in entries if entry.is_file()}
        except OSError:
            return set()


def folder(root: Path) -> Path:
    """The folder the paths are relative to."""
    return root.parent if root.suffix.lower() in _SUFFIXES else root


def find_categories(root: Path, settings: ManifestSettings) -> list[str]:
    """All categories of the table, sorted; a table that has not changed is not read again."""
    table = _table(root)
    try:
        found = table.stat()
    except OSError as error:
        raise DatasetError(f"{table} cannot be read: {error}") from error
    return list(_categories(table, (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)))


@lru_cache(maxsize=64)
def _categories(table: Path, _state: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(sorted({_text(values["category"]) for _, values in _read(table)}))


def scan_category(root: Path, category: str, exclusions: Exclusions, settings: ManifestSettings) -> Scan:
    """The rows of a category, and everything in them that cannot be true."""
    scan, files = Scan(), _Files(str(folder(root)), settings.roots)
    taken: dict[str, tuple[str, ...]] = {}  # plain tuples of text, which garbage collection soon passes over
    splits = set()
    for where, values in _read(_table(root)):
        if _text(values["category"]) != category:
            continue
        row = _row(where, values)
        path = row.values["image_path"]
        if exclusions.excludes(path):
            continue
        content = (where, *row.values.values(), *row.masks, row.boxes)
        first = taken.setdefault(path, content)
        if first is not content:
            word = "listed twice" if first[1:] == content[1:] else "conflicting rows"
            scan.complain(path, f"{word}: {first[0]} and {where}; keep one of them")
            continue
        splits.add(row.values["split"])
        _take(scan, files, row)
    if "train" not in splits:
        scan.complain(category, "no row of split train; expected at least one image")
    _refuse_divided_groups(scan)
    _refuse_shared_masks(scan)
    return scan


def _take(scan: Scan, files: _Files, row: _Row) -> None:
    """One row as an image, or as problems."""
    values, path = row.values, row.values["image_path"]
    faults = [*_path_faults(files, path), *_value_faults(row)]
    for mask in row.masks:
        faults += [f"mask {mask}: {fault}" for fault in _path_faults(files, mask)]
    for fault in faults:
        scan.complain(path, f"{row.where}: {fault}")
    if not faults:
        label = int(values["label"] or 0)
        defect_type = (values["defect_type"] or "bad") if label else "good"
        split: Split = values["split"]  # type: ignore[assignment]  # one of _SPLITS: _value_faults looked
        group, boxes = values["group_id"] or None, _boxes(row.boxes)
        scan.images.append(FoundImage(path, split, label, defect_type, row.masks, group, boxes))
        if label and boxes:
            scan.lacks_mask(
                path, f"{row.where}: its defects are marked by boxes, which are no pixel-exact mask"
            )
        elif label and not row.masks:
            scan.lacks_mask(path, f"{row.where}: has no mask; expected its path in mask_path")


def _value_faults(row: _Row) -> Iterator[str]:
    """What a row says that cannot be, in words."""
    split, label, defect = row.values["split"], row.values["label"], row.values["defect_type"]
    if split not in _SPLITS:
        yield f"split {split!r}; expected one of {', '.join(_SPLITS)}"
    if label not in ("0", "1") and not (label == "" and split != "test"):
        yield f"label {label!r}; expected 0 (normal) or 1 (anomalous)"
    if label == "1" and split != "test":
        yield f"an anomaly in {split}, which holds normal images only"
    if label == "1" and defect.lower() in ("good", "normal"):
        yield f"label 1 contradicts defect_type {defect!r}"
    if row.boxes:
        yield from _box_faults(row)
    if label != "1" and defect.lower() not in (*NORMAL_WORDS, ""):
        yield f"label {label or 0} contradicts defect_type {defect!r}"
    if defect in (".", "..") or set(defect) & set("/\\\0"):
        yield f"defect_type {defect!r} cannot name a folder"


def _box_faults(row: _Row) -> Iterator[str]:
    try:
        boxes = _boxes(row.boxes)
    except ValueError:
        yield f"boxes {row.boxes:.60}; expected a list of [x, y, width, height]"
        return
    if any(min(x, y) < 0 or min(width, height) <= 0 for x, y, width, height in boxes):
        yield f"boxes {row.boxes:.60}; expected none that begins before 0 or is empty"
    if row.values["label"] != "1":
        yield "a normal image with boxes; expected none"
    if row.masks:
        yield "boxes and a mask; expected the mask alone where it shows all defects, else the boxes alone"


def _path_faults(files: _Files, path: str) -> Iterator[str]:
    """A path stays where it may lead, names an image, and is there."""
    if not files.allows(path):
        below = f", or an absolute one below {' or '.join(files.roots)}" if files.roots else ""
        advice = " (`roots:` says below which folders a path may be absolute)" if path.startswith("/") else ""
        yield f"expected a path with / relative to the manifest's folder, without ..{below}{advice}"
    elif not is_image_name(path):
        yield "not an image by its extension"
    elif not files.has(path):
        yield "no such file"


def _refuse_divided_groups(scan: Scan) -> None:
    """One physical part in two splits is a leak."""
    first: dict[str, FoundImage] = {}
    for image in scan.images:
        if image.group_id is None:
            continue
        other = first.setdefault(image.group_id, image)
        if other.split != image.split:
            message = f"group {image.group_id} is in {image.split}, but with {other.path} in {other.split}"
            scan.complain(image.path, f"{message}; keep a group in one split")


def _refuse_shared_masks(scan: Scan) -> None:
    first: dict[str, str] = {}
    for image in scan.images:
        for mask in image.masks:
            other = first.setdefault(mask, image.path)
            if other != image.path:
                scan.complain(image.path, f"has the same mask as {other}: {mask}")


def _table(root: Path) -> Path:
    """The one manifest file."""
    if root.suffix.lower() in _SUFFIXES:
        candidates = [root] if root.is_file() else []
    else:
        candidates = [root / f"manifest{suffix}" for suffix in _SUFFIXES]
        candidates = [path for path in candidates if path.is_file()]
    if len(candidates) != 1:
        found = "several" if candidates else "none"
        raise DatasetError(f"{root}: expected one manifest{{{','.join(_SUFFIXES)}}}, found {found}")
    return candidates[0]


def _row(where: str, values: Mapping[str, Any]) -> _Row:
    masks = values.get("mask_path") or []
    if isinstance(masks, str):
        masks = [part.strip() for part in masks.split(";")]
    text = {column: _text(values.get(column)) for column in _AS_TEXT}
    boxes = values.get("boxes")
    shown = boxes.strip() if isinstance(boxes, str) else json.dumps(boxes) if boxes else ""
    return _Row(where, text, tuple(str(mask) for mask in masks if mask), "" if shown == "[]" else shown)


def _boxes(text: str) -> tuple[Box, ...]:
    """``[[1, 2, 3, 4], ...]`` or ``1 2 3 4; ...`` as numbers.

    Raises:
        ValueError: it is neither.
    """
    rows = (
        json.loads(text)
        if text.startswith("[")
        else [part.split() for part in text.split(";") if part.strip()]
    )
    boxes = []
    for row in rows:
        x, y, width, height = map(float, row if isinstance(row, list) else ())
        if not math.isfinite(x + y + width + height):
            raise ValueError(row)
        boxes.append((x, y, width, height))
    return tuple(boxes)


def _text(value: Any) -> str:
    """A cell as text: 1, 1.0 and true are all "1", as the writers of tables mix them."""
    if isinstance(value, str):
        return value.strip()
    if value is None or (isinstance(value, float) and math.isnan(value)):  # NaN: pandas' empty cell
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return str(value)


def _read(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row stands, and its cells as they are.

    Raises:
        DatasetError: the file cannot be read, or a row lacks what every row needs.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    try:
        for where, values in readers[table.suffix.lower()](table):
            missing = [column for column in _REQUIRED if values.get(column) in (None, "")]
            if missing:
                raise DatasetError(
                    f"{table}, {where}: no {', '.join(missing)}; expected {', '.join(COLUMNS)}"
                )
            yield where, values
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table} is not UTF-8: {error}; save it as UTF-8") from error
    except (OSError, json.JSONDecodeError, csv.Error) as error:
        raise DatasetError(f"{table} cannot be read: {error}") from error


def _read_jsonl(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with table.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise DatasetError(f"{table}, line {number}: expected a JSON object")
                yield f"line {number}", values


def _read_csv(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with open_csv(table) as reader:
        for row in reader:
            yield f"line {reader.line_num}", row


def _read_parquet(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(table).to_pylist()
    except pa.ArrowException as error:
        raise DatasetError(f"{table} cannot be read: {error}") from error
    for number, row in enumerate(rows):
        yield f"row {number}", row
