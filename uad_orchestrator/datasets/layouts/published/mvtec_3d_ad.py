"""MVTec 3D-AD (Bergmann et al., VISAPP 2022), its RGB images only, as published.

``<category>/{train,validation}/good/rgb/NNN.png``, ``<category>/test/<class>/{rgb,gt}/NNN.png``. Good test
images have masks too, all zero, which say nothing and are not listed. The ``xyz`` folders are not looked at.
"""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import (
    FoundImage,
    Scan,
    is_folder,
    list_images,
    match_masks,
    refuse_surplus,
    stem,
    subfolders,
)

VERSION = 1
_NORMAL_SPLITS: tuple[Split, ...] = ("train", "validation")


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, sorted."""
    return class_folders.find_categories(root)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All RGB images of a category, and everything that is not as published."""
    scan = Scan()
    for split in _NORMAL_SPLITS:
        images = exclusions.apply(_pictures(scan, root, f"{category}/{split}/good/rgb"))
        scan.images += [FoundImage(image, split, 0, "good") for image in images]
    test = f"{category}/test"
    classes = subfolders(root / test) if is_folder(root / test) else []
    if not classes:
        scan.complain(test, f"no such folder, or an empty one; expected {test}/good/rgb with images")
    for name in classes:
        _scan_class(scan, root, f"{test}/{name}", name, exclusions)
    return scan


def _scan_class(scan: Scan, root: Path, folder: str, name: str, exclusions: Exclusions) -> None:
    found = _pictures(scan, root, f"{folder}/rgb")
    images = exclusions.apply(found)
    if name.lower() == "good":
        masks_of_good = _pictures(scan, root, f"{folder}/gt", may_be_empty=True)
        stems = {stem(image) for image in found}
        refuse_surplus(scan, (mask for mask in masks_of_good if stem(mask) not in stems))
        scan.images += [FoundImage(image, "test", 0, "good") for image in images]
        return
    masks = match_masks(
        scan,
        images,
        _pictures(scan, root, f"{folder}/gt", may_be_empty=True),
        suffixes=("",),
        expected=f"{folder}/gt/{{stem}}.png",
        excluded=sorted(set(found) - set(images)),
    )
    scan.images += [
        FoundImage(image, "test", 1, name, (masks[image],) if image in masks else ())
        for image in images
        if image in masks or image in scan.without_mask
    ]


def _pictures(scan: Scan, root: Path, folder: str, *, may_be_empty: bool = False) -> list[str]:
    if is_folder(root / folder):
        return list_images(scan, root, folder, may_be_empty=may_be_empty)
    scan.complain(folder, "no such folder; expected images in it")
    return []
