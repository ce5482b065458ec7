"""A user's own images in folders; the words of MVTec AD, read generously.

``<category>/train/{good,normal}``, optionally ``<category>/validation/{good,normal}``,
``<category>/test/{good,normal}``, ``<category>/test/<anything else>`` is a defect type,
``<category>/ground_truth/<defect>/<stem>[_mask].<ext>``.
"""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts import class_folders
from uad_orchestrator.datasets.scan import Scan

VERSION = 1
_WORDS = class_folders.ClassFolders(normal=("good", "normal"), validation=True)


def find_categories(root: Path) -> list[str]:
    """The categories found below ``root``, sorted."""
    return class_folders.find_categories(root)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category, and everything that does not fit the layout."""
    return class_folders.scan_category(root, category, _WORDS, exclusions)
