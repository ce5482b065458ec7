"""MVTec AD 2 (Heckler-Kram et al., 2025), as published.

``<category>/{train,validation}/good``, ``<category>/test_public/{good,bad}`` with
``<category>/test_public/ground_truth/bad/*_mask.png``, and two splits without labels, whose images lie flat:
``<category>/test_private``, ``<category>/test_private_mixed``. The public split alone gives metrics.
"""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.manifest import UNKNOWN_LABEL, Split
from uad_orchestrator.datasets.scan import FoundImage, Scan, is_folder, list_images

VERSION = 1
CATEGORIES = ("can", "fabric", "fruit_jelly", "rice", "sheet_metal", "vial", "wallplugs", "walnuts")
"""As published; the evaluation server wants them all."""
_WORDS = class_folders.ClassFolders(
    validation=True, test="test_public", ground_truth="test_public/ground_truth"
)
_PRIVATE: tuple[Split, ...] = ("test_private", "test_private_mixed")


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, sorted."""
    return class_folders.find_categories(root)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category, the unlabelled ones too, and everything that is not as published."""
    scan = class_folders.scan_category(root, category, _WORDS, exclusions)
    for split in _PRIVATE:
        folder = f"{category}/{split}"
        if is_folder(root / folder):
            images = exclusions.apply(list_images(scan, root, folder))
            scan.images += [FoundImage(image, split, UNKNOWN_LABEL, "unknown") for image in images]
            scan.notes.append(f"{split}: no ground truth published")
    return scan
