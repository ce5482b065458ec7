"""The shape most sets share: ``<split>/<class>/<image>`` with ``ground_truth/<defect>/<stem>_mask.<ext>``.

The layouts say which words they use; reading the folders is the same for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import (
    FoundImage,
    Scan,
    is_folder,
    is_image_name,
    list_files,
    list_images,
    match_masks,
    refuse_equal_stems,
    subfolders,
)


@dataclass(frozen=True)
class ClassFolders:
    """The words of a layout.

    Attributes:
        normal: names of the folders of normal images, in lower case; the first is the published one.
        validation: whether a ``validation`` split may be there.
        mask_suffixes: what a mask's stem has behind its image's.
    """

    normal: tuple[str, ...] = ("good",)
    validation: bool = False
    mask_suffixes: tuple[str, ...] = ("_mask", "")


def find_categories(root: Path) -> list[str]:
    """The folders below ``root`` that have a ``train`` folder, sorted."""
    return [name for name in subfolders(root) if is_folder(root / name / "train")]


def scan_category(root: Path, category: str, words: ClassFolders, exclusions: Exclusions) -> Scan:
    """All images of ``root/category`` with split, label, defect type and mask."""
    scan = Scan()
    _scan_normals(scan, root, category, "train", words, exclusions)
    if words.validation and is_folder(root / category / "validation"):
        _scan_normals(scan, root, category, "validation", words, exclusions)
    _scan_test(scan, root, category, words, exclusions)
    return scan


def _scan_normals(
    scan: Scan, root: Path, category: str, split: Split, words: ClassFolders, exclusions: Exclusions
) -> None:
    """``train`` and ``validation`` hold normal images only."""
    for name in _classes(scan, root, f"{category}/{split}", words.normal[0]):
        folder = f"{category}/{split}/{name}"
        if name.lower() in words.normal:
            images = exclusions.apply(list_images(scan, root, folder))
            scan.images += [FoundImage(image, split, 0, "good") for image in images]
        else:
            scan.complain(folder, f"{split} holds normal images only; expected {' or '.join(words.normal)}")


def _scan_test(scan: Scan, root: Path, category: str, words: ClassFolders, exclusions: Exclusions) -> None:
    defects = []
    for name in _classes(scan, root, f"{category}/test", words.normal[0]):
        folder = f"{category}/test/{name}"
        found = list_images(scan, root, folder)
        images = exclusions.apply(found)
        refuse_equal_stems(scan, images)
        if name.lower() in words.normal:
            scan.images += [FoundImage(image, "test", 0, "good") for image in images]
        else:
            defects.append(name)
            _scan_defects(scan, root, category, name, images, sorted(set(found) - set(images)), words)
    _refuse_unused_masks(scan, root, category, defects, words)


def _scan_defects(
    scan: Scan,
    root: Path,
    category: str,
    defect: str,
    images: list[str],
    excluded: list[str],
    words: ClassFolders,
) -> None:
    folder = f"{category}/ground_truth/{defect}"
    masks = list_images(scan, root, folder) if is_folder(root / folder) else []
    pairs = match_masks(
        scan,
        images,
        masks,
        suffixes=words.mask_suffixes,
        expected=f"{folder}/{{stem}}{words.mask_suffixes[0]}.png",
        excluded=excluded,
    )
    scan.images += [FoundImage(image, "test", 1, defect, (mask,)) for image, mask in pairs.items()]


def _classes(scan: Scan, root: Path, folder: str, normal: str) -> list[str]:
    """The class folders of a split; a missing or empty split, and images beside the classes, are problems."""
    if not is_folder(root / folder):
        scan.complain(folder, f"no such folder; expected {folder}/{normal}/ with images")
        return []
    for name in list_files(root / folder):
        if is_image_name(name):
            scan.complain(
                f"{folder}/{name}", f"an image outside the classes; expected {folder}/<class>/{name}"
            )
    names = subfolders(root / folder)
    if not names:
        scan.complain(folder, f"empty; expected {folder}/{normal}/ with images")
    return names


def _refuse_unused_masks(
    scan: Scan, root: Path, category: str, defects: list[str], words: ClassFolders
) -> None:
    """Everything in ``ground_truth`` belongs to a defective image."""
    folder = f"{category}/ground_truth"
    if not is_folder(root / folder):
        return
    for name in list_files(root / folder):
        if is_image_name(name):
            scan.complain(
                f"{folder}/{name}", f"a mask outside the classes; expected {folder}/<defect>/{name}"
            )
    for name in subfolders(root / folder):
        if name in defects or not list_files(root / folder / name):
            continue
        if name.lower() in words.normal:
            scan.complain(f"{folder}/{name}", "masks of normal images; expected none, take them away")
        else:
            missing = f"{category}/test/{name}"
            scan.complain(f"{folder}/{name}", f"masks without images; expected their images in {missing}")
