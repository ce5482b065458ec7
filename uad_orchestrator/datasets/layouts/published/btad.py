"""BTAD, beanTech (Mishra et al., ISIE 2021), as published.

``<category>/train/ok``, ``<category>/test/{ok,ko}``, ``<category>/ground_truth/ko``: images and masks are BMP
or PNG, of the same stem but not always of the same extension. The one defect type is ``ko``.
"""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.scan import Scan

VERSION = 1
_WORDS = class_folders.ClassFolders(normal=("ok",), find_masks=class_folders.masks_by_stem("", "_mask"))


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, sorted."""
    return class_folders.find_categories(root)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category, and everything that is not as published."""
    return class_folders.scan_category(root, category, _WORDS, exclusions)
