"""A cell as one ONNX file: image in, score and anomaly map out, for machines that have nothing of ours."""

from uad_orchestrator.export.onnx.verification import Agreement
from uad_orchestrator.export.onnx.writing import OnnxExport, write_onnx

__all__ = ["Agreement", "OnnxExport", "write_onnx"]
