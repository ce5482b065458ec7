"""Anomaly maps as others want them: the tree of MVTec's evaluation scripts, the archive of their server."""

from uad_orchestrator.export.category_maps import CategoryMaps, ExportError
from uad_orchestrator.export.map_tree import write_map_tree
from uad_orchestrator.export.submission import write_submission

__all__ = ["CategoryMaps", "ExportError", "write_map_tree", "write_submission"]
