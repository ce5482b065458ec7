"""Results to hand over: anomaly maps as others want them, and a cell as one ONNX file."""

from uad_orchestrator.export.category_maps import CategoryMaps, ExportError
from uad_orchestrator.export.map_tree import write_map_tree
from uad_orchestrator.export.onnx import Agreement, OnnxExport, write_onnx
from uad_orchestrator.export.submission import write_submission

__all__ = [
    "Agreement",
    "CategoryMaps",
    "ExportError",
    "OnnxExport",
    "write_map_tree",
    "write_onnx",
    "write_submission",
]
