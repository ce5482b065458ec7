"""MVTec AD (Bergmann et al., CVPR 2019), as published.

``<category>/train/good/NNN.png``, ``<category>/test/{good,<defect>}/NNN.png``,
``<category>/ground_truth/<defect>/NNN_mask.png``.
"""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.scan import Scan

VERSION = 1
_WORDS = class_folders.ClassFolders()


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, sorted."""
    return class_folders.find_categories(root)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category, and everything that is not as published."""
    return class_folders.scan_category(root, category, _WORDS, exclusions)
