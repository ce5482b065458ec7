"""A cell written as ONNX, held against its own test images."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.export.onnx import OnnxExport, write_onnx
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.services.cell_bundle import cell_bundle


def export_cell(run: CellRun, output: Path, *, verify: int, opset: int) -> OnnxExport:
    """Write a cell that is up to date.

    Args:
        run: of the cell.
        output: the file.
        verify: how many of its test images, normal ones and of all types of defects, the file is held against.
        opset: ONNX operator set.

    Raises:
        MissingUpstream: the cell is not computed in the version it should have.
        ExportError, FileExistsError, ImportError: as ``write_onnx``.
    """
    manifest = run.state.manifest(run.cell.category)
    test = tuple(sorted(manifest.test, key=lambda record: (record.defect_type, record.path)))
    return write_onnx(cell_bundle(run), output, list(manifest.sources(test)), verify=verify, opset=opset)
