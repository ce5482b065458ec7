"""A cell written as one ONNX file, and held against our own scores before it is kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uad_orchestrator.export.category_maps import ExportError
from uad_orchestrator.export.onnx.refusals import fixed_size, refusals
from uad_orchestrator.export.onnx.verification import (
    LIMIT,
    Agreement,
    agreements,
    evenly_spread,
    expected,
)
from uad_orchestrator.extras import require_extra
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.storage.atomic import new_file

OPSET = 17
VERIFIED = 8
EXAMPLE_SIZE = (93, 122)
"""Of the image the graph is traced with: of no meaning, only unlike any size that a branch could be taken by."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written.

    Attributes:
        path: the file.
        opset: the ONNX operator set it is written in.
        size: ``(H, W)`` that images have to have, where a region of interest fixes it; None: any.
        agreements: how far each runtime is from our own scores; onnxruntime's first.
    """

    path: Path
    opset: int
    size: tuple[int, int] | None
    agreements: tuple[Agreement, ...]


def write_onnx(
    bundle: Bundle, output: Path, images: Sequence[ImageSource], *, verify: int = VERIFIED, opset: int = OPSET
) -> OnnxExport:
    """Write a cell as one ONNX file: input ``image``, outputs ``score`` and ``anomaly_map``.

    ``image`` is uint8 ``(1, H, W, 3)`` RGB, of any size; ``score`` float32 ``(1,)``, ``anomaly_map`` float32
    ``(1, H, W)``. Preset, embedder, memory bank and post-processing are in the graph, thresholds, card and versions in
    the metadata (keys ``uad.``).

    Args:
        bundle: the cell.
        output: the file; an earlier export in its place is replaced.
        images: the cell's test images, by which the file is held against ``infer``.
        verify: how many of them, spread evenly.
        opset: ONNX operator set, 14 or newer.

    Returns:
        What was written, and how well it agrees.

    Raises:
        ExportError: something of the cell cannot be exported (names all of it), or the file's scores or maps are off
            by more than 1e-3 relative: then it is not kept.
        ImportError: the extra ``onnx`` is not installed.
        FileExistsError: ``output`` is something else.
    """
    if faults := refusals(bundle):
        raise ExportError(f"{bundle.name} cannot be exported as ONNX:", faults)
    if not images:
        raise ExportError(
            f"{bundle.name}: there are no test images to hold the export against: export it as a bundle, and that "
            "with --bundle and --images"
        )
    require_extra("onnx", "onnxruntime", extra="onnx", what="export onnx")
    from uad_orchestrator.export.onnx.metadata import add_metadata, is_ours, metadata

    if output.exists() and not is_ours(output):
        raise FileExistsError(f"{output} is there already and is no earlier export: choose another --output")
    size = fixed_size(bundle)
    with new_file(output) as aside:
        _write_graph(bundle, size, aside, opset)
        chosen = evenly_spread(images, verify)
        found = tuple(agreements(aside, expected(bundle, chosen, other_shape=size is None)))
        _check(bundle, found[0])
        add_metadata(aside, metadata(bundle, found))
    return OnnxExport(output, opset, size, found)


def _write_graph(bundle: Bundle, size: tuple[int, int] | None, path: Path, opset: int) -> None:
    """Traced, not captured by ``torch.export``: sizes that follow from the image's come out wrong there, unsaid."""
    import torch

    from uad_orchestrator.export.onnx.cell import cell_module

    module = cell_module(bundle, size)
    draws = torch.Generator().manual_seed(0)
    example = torch.randint(0, 256, (1, *(size or EXAMPLE_SIZE), 3), dtype=torch.uint8, generator=draws)
    dynamic = {"image": {1: "H", 2: "W"}, "anomaly_map": {1: "H", 2: "W"}}
    options: dict[str, Any] = {} if size else {"dynamic_axes": dynamic}
    if _has_dynamo(torch):
        options["dynamo"] = False
    with warnings.catch_warnings(), torch.no_grad(), _attention_in_steps():
        warnings.simplefilter("ignore")  # of tracing: what depends on sizes is written as tensors here
        torch.onnx.export(
            module,
            (example,),
            str(path),
            input_names=["image"],
            output_names=["score", "anomaly_map"],
            opset_version=opset,
            **options,
        )


@contextmanager
def _attention_in_steps() -> Iterator[None]:
    """torch takes attention in one step where no gradient is asked for, which ONNX has no operation for."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _has_dynamo(torch: Any) -> bool:
    """Since torch 2.5 there are two exporters."""
    import inspect

    return "dynamo" in inspect.signature(torch.onnx.export).parameters


def _check(bundle: Bundle, agreement: Agreement) -> None:
    if agreement.holds:
        return
    why = agreement.error or (
        f"of {agreement.images} images the scores are off by up to {agreement.score:.1e} and the maps by up to "
        f"{agreement.anomaly_map:.1e} (relative; {LIMIT:.0e} is allowed), most on {agreement.worst}"
    )
    raise ExportError(
        f"{bundle.name}: run by {agreement.runtime}, the file does not agree with our own scores: {why}"
    )
