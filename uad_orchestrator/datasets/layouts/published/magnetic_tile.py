"""Magnetic tile defects (Huang et al., The Visual Computer 2020): one category, no official split.

``MT_{Free,Blowhole,Break,Crack,Fray,Uneven}/Imgs/*.jpg`` with a ``.png`` mask of the same stem (all zero for
``MT_Free``). The split is ours, and a manifest's notes say so: of the free tiles a seeded fifth is tested,
the others are trained on. Images of one number (``exp1_num_4727``, ``exp2_num_4727``) are taken to show one
tile: they are a group, which is never divided, and a tile defective in any of them is not trained on.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import (
    FoundImage,
    Scan,
    is_folder,
    list_images,
    match_masks,
    refuse_surplus,
    stem,
)

VERSION = 1
CATEGORY = "magnetic_tile"
SPLIT_SEED = 0
_TESTED_SHARE = 0.2
_FREE = "MT_Free"
_DEFECTS = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven")


def find_categories(root: Path) -> list[str]:
    """The one category, named like the set."""
    return [CATEGORY]


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images with our split, and everything that is not as published."""
    scan = Scan(
        notes=[f"no official split: ours, seed {SPLIT_SEED}, {_TESTED_SHARE:.0%} of the free tiles tested"]
    )
    for folder in _DEFECTS:
        _scan_defects(scan, root, folder, exclusions)
    defective = {image.group_id for image in scan.images}
    files = _files(scan, root, _FREE)
    found = [name for name in files if not _is_mask(name)]
    free, stems = exclusions.apply(found), {stem(name) for name in found}
    refuse_surplus(scan, (name for name in files if _is_mask(name) and stem(name) not in stems))
    scan.images += [FoundImage(name, _split(name, defective), 0, "good", (), _group(name)) for name in free]
    return scan


def _scan_defects(scan: Scan, root: Path, folder: str, exclusions: Exclusions) -> None:
    files = _files(scan, root, folder)
    found = [name for name in files if not _is_mask(name)]
    images = exclusions.apply(found)
    masks = match_masks(
        scan,
        images,
        [name for name in files if _is_mask(name)],
        suffixes=("",),
        expected=f"{folder}/Imgs/{{stem}}.png",
        excluded=sorted(set(found) - set(images)),
    )
    defect = folder.removeprefix("MT_").lower()
    scan.images += [
        FoundImage(image, "test", 1, defect, (masks[image],) if image in masks else (), _group(image))
        for image in images
        if image in masks or image in scan.without_mask
    ]


def _files(scan: Scan, root: Path, folder: str) -> list[str]:
    if is_folder(root / folder / "Imgs"):
        return list_images(scan, root, f"{folder}/Imgs")
    scan.complain(f"{folder}/Imgs", "no such folder; expected .jpg images with .png masks")
    return []


def _is_mask(name: str) -> bool:
    return name.lower().endswith(".png")


def _group(name: str) -> str:
    """The tile's number where the name has one, else the name: nothing is known of other images of it."""
    number = re.search(r"num_(\d+)", name)
    return f"num_{number[1]}" if number else name


def _split(name: str, defective: set[str | None]) -> Split:
    """By the digest of seed and group: adding or excluding an image moves no other."""
    group = _group(name)
    if group in defective:
        return "test"
    digest = hashlib.sha256(f"{SPLIT_SEED}/{group}".encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < _TESTED_SHARE * 2**64 else "train"
