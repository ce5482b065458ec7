"""VisA (Zou et al., ECCV 2022), as released and as its authors' script converts it.

Released: ``<category>/Data/Images/{Normal,Anomaly}/*.JPG``, ``<category>/Data/Masks/Anomaly/*.png``, the
split in ``split_csv/1cls.csv`` (object, split, label, image, mask), the defect types in
``<category>/image_anno.csv`` (image, label, mask). Converted: ``<category>/{train/good,test/{good,bad},
ground_truth/bad}``, at the root, below ``visa_pytorch/`` or ``1cls/``.
"""

from __future__ import annotations

import csv
from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.scan import FoundImage, Scan, is_folder, list_images, subfolders

VERSION = 1
_WORDS = class_folders.ClassFolders(find_masks=class_folders.masks_by_stem("", "_mask"))
_CONVERTED = ("", "visa_pytorch/", "1cls/", "visa_pytorch/1cls/")
_SPLIT = "split_csv/1cls.csv"
_COLUMNS = ("object", "split", "label", "image", "mask")


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, released or converted, sorted."""
    released = [name for name in subfolders(root) if is_folder(root / name / "Data" / "Images")]
    if released:
        return released
    found = [class_folders.find_categories(root / base) for base in _CONVERTED if is_folder(root / base)]
    return sorted(set().union(*found))


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category, and everything that is not as released."""
    if is_folder(root / category / "Data" / "Images"):
        return _scan_released(root, category, exclusions)
    base = next(base for base in _CONVERTED if is_folder(root / base / category / "train"))
    return class_folders.scan_category(root, f"{base}{category}", _WORDS, exclusions)


def _scan_released(root: Path, category: str, exclusions: Exclusions) -> Scan:
    scan = Scan()
    listed = [row for row in _read_csv(scan, root, _SPLIT, _COLUMNS) if row["object"] == category]
    images = {
        name
        for kind in ("Normal", "Anomaly")
        for name in _files(scan, root, f"{category}/Data/Images/{kind}")
    }
    masks = set(_files(scan, root, f"{category}/Data/Masks/Anomaly"))
    rows = _as_on_disk(listed, images | masks)
    for split in ("train", "test") if rows else ():
        if not any(row["split"] == split for row in rows):
            scan.complain(_SPLIT, f"no {split} image of {category}; expected at least one")
    types = _defect_types(scan, root, category)
    kept = set(exclusions.apply([row["image"] for row in rows]))
    for row in rows:
        if row["image"] in kept:
            _take(scan, row, images, masks, types)
    for name in sorted(images - {row["image"] for row in rows}):
        scan.complain(name, f"does not stand in {_SPLIT}; expected every image there")
    for name in sorted(masks - {row["mask"] for row in rows}):
        scan.complain(name, f"a mask that does not stand in {_SPLIT}")
    return scan


def _as_on_disk(rows: list[dict[str, str]], files: set[str]) -> list[dict[str, str]]:
    """The rows with images and masks as the files are called, whatever their extension and its case."""
    names = {_without_extension(name): name for name in files}
    return [
        {**row, **{key: names.get(_without_extension(row[key]), row[key]) for key in ("image", "mask")}}
        for row in rows
    ]


def _without_extension(name: str) -> str:
    return name.rpartition(".")[0].lower()


def _take(scan: Scan, row: dict[str, str], images: set[str], masks: set[str], types: dict[str, str]) -> None:
    """One row of the split file as an image, or as a problem."""
    image, mask, split = row["image"], row["mask"], row["split"]
    if split not in ("train", "test") or row["label"] not in ("normal", "anomaly"):
        message = f"{image} is {split!r}, {row['label']!r}; expected train or test, normal or anomaly"
        scan.complain(_SPLIT, message)
    elif image not in images:
        scan.complain(image, f"no such file; {_SPLIT} lists it")
    elif row["label"] == "normal":
        scan.images.append(FoundImage(image, "train" if split == "train" else "test", 0, "good"))
    elif split == "train":
        scan.complain(image, f"an anomaly in the train split of {_SPLIT}; train holds normal images only")
    else:
        defect = types.get(_without_extension(image), "bad")
        scan.images.append(FoundImage(image, "test", 1, defect, (mask,) if mask in masks else ()))
        if mask not in masks:
            said = f"{_SPLIT} says {mask or 'nothing'}, expected a file of that name"
            scan.lacks_mask(image, f"has no mask; {said}")


def _defect_types(scan: Scan, root: Path, category: str) -> dict[str, str]:
    """An image's defect type, where the annotations are there; a slash in it would lead into a folder."""
    annotations = f"{category}/image_anno.csv"
    if not (root / annotations).is_file():
        return {}
    rows = _read_csv(scan, root, annotations, ("image", "label"))
    return {
        _without_extension(row["image"]): row["label"].strip().replace("/", "-")
        for row in rows
        if row["label"].strip()
    }


def _read_csv(scan: Scan, root: Path, name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not (root / name).is_file():
        scan.complain(name, f"no such file; expected a CSV file with {', '.join(columns)}")
        return []
    with (root / name).open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            scan.complain(name, f"has no column {', '.join(missing)}; expected {', '.join(columns)}")
            return []
        return [{column: row[column] or "" for column in columns} for row in reader]


def _files(scan: Scan, root: Path, folder: str) -> list[str]:
    if is_folder(root / folder):
        return list_images(scan, root, folder)
    scan.complain(folder, "no such folder; expected images in it")
    return []
