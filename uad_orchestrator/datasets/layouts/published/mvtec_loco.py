"""MVTec LOCO AD (Bergmann et al., IJCV 2022), as published.

``<category>/{train,validation}/good/NNN.png``, ``<category>/test/{good,logical_anomalies,
structural_anomalies}``, ``<category>/ground_truth/<type>/NNN/{000,001,..}.png``: one channel per anomalous
place, kept apart because sPRO saturates each for itself by ``<category>/defects_config.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uad_orchestrator.datasets.defects_config import DEFECTS_CONFIG, read_defects_config
from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import (
    Scan,
    is_folder,
    is_image_name,
    list_files,
    list_images,
    stem,
    subfolders,
)

VERSION = 1


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, sorted."""
    return class_folders.find_categories(root)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category with all channels of their masks, and everything that is not as published."""
    scan = class_folders.scan_category(root, category, _WORDS, exclusions)
    try:
        scan.defects = read_defects_config(root, f"{category}/{DEFECTS_CONFIG}")
    except DatasetError as error:
        scan.problems += error.problems
    return scan


def _masks_in_folders(
    scan: Scan, root: Path, folder: str, images: Sequence[str], excluded: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """All channels of an image's mask, from the folder that bears its stem."""
    folders = subfolders(root / folder) if is_folder(root / folder) else []
    by_stem = {name.lower(): name for name in folders}
    for name in list_files(root / folder) if is_folder(root / folder) else []:
        if is_image_name(name):
            expected = f"{folder}/{stem(name)}/000.png"
            scan.complain(f"{folder}/{name}", f"a mask outside its image's folder; expected {expected}")
    masks = {}
    for image in images:
        if stem(image) in by_stem:
            masks[image] = tuple(list_images(scan, root, f"{folder}/{by_stem[stem(image)]}"))
        else:
            scan.lacks_mask(image, f"has no mask; expected {folder}/{Path(image).stem}/000.png")
    for unused in sorted(set(by_stem) - {stem(image) for image in [*images, *excluded]}):
        scan.complain(f"{folder}/{by_stem[unused]}", "masks without an image of this name")
    return masks


_WORDS = class_folders.ClassFolders(validation=True, find_masks=_masks_in_folders)
