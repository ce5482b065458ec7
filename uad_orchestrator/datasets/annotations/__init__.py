"""Annotation files of other tools become masks and a manifest; see ``docs/how-to/annotations.md``."""

from uad_orchestrator.datasets.annotations.formats import READERS
from uad_orchestrator.datasets.annotations.importing import (
    ImportedAnnotations,
    ImportSettings,
    images_folder,
    import_annotations,
)

__all__ = ["READERS", "ImportSettings", "ImportedAnnotations", "images_folder", "import_annotations"]
