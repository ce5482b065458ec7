"""Datasets: from folders as published, or from your own, to one ``Manifest``.

A layout says how files are arranged; ``load_dataset`` reads one category by it, ``check_dataset`` names
everything wrong with one. The demo set is generated.
"""

from uad_orchestrator.datasets.annotations import ImportedAnnotations, ImportSettings, import_annotations
from uad_orchestrator.datasets.checks.copies import find_copies
from uad_orchestrator.datasets.checks.headers import check_category, check_dataset
from uad_orchestrator.datasets.checks.masks import check_masks
from uad_orchestrator.datasets.demo_generator import (
    DEMO_CATEGORIES,
    DemoSizes,
    generate_defective,
    generate_demo,
    generate_normals,
    write_normals,
)
from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.layouts.registry import Layout
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest, MaskFile, Split
from uad_orchestrator.datasets.problems import DatasetError, DatasetProblem
from uad_orchestrator.datasets.scan import (
    FoundImage,
    Scan,
    is_folder,
    list_images,
    match_masks,
    subfolders,
)
from uad_orchestrator.datasets.strictness import Strictness

__all__ = [
    "DEMO_CATEGORIES",
    "DatasetError",
    "DatasetProblem",
    "DemoSizes",
    "Exclusions",
    "FoundImage",
    "ImageRecord",
    "ImportSettings",
    "ImportedAnnotations",
    "Layout",
    "LayoutSettings",
    "Manifest",
    "MaskFile",
    "Scan",
    "Split",
    "Strictness",
    "check_category",
    "check_dataset",
    "check_masks",
    "find_categories",
    "find_copies",
    "generate_defective",
    "generate_demo",
    "generate_normals",
    "import_annotations",
    "is_folder",
    "list_images",
    "load_dataset",
    "match_masks",
    "subfolders",
    "write_normals",
]
