"""The generated demo set: MVTec AD's layout, and categories that are known before any file is written."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.demo_generator import DEMO_CATEGORIES, generate_demo
from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.published import class_folders
from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.datasets.scan import Scan, is_folder

VERSION = 1
_WORDS = class_folders.ClassFolders()


def find_categories(root: Path) -> list[str]:
    """The demo's categories; static, so that a project can be loaded before anything is generated."""
    return sorted(DEMO_CATEGORIES)


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images of a category; a problem says how to generate them when they are not there yet."""
    if not is_folder(root / category):
        message = "not generated yet; run `uad demo`, or materialise dataset_category"
        return Scan(problems=[DatasetProblem(category, message)])
    return class_folders.scan_category(root, category, _WORDS, exclusions)


def prepare(root: Path, category: str) -> None:
    """Generate a category's images unless they are there."""
    generate_demo(root, categories=(category,))
