"""What cannot be written as ONNX so that the same scores come out: said by name, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator

from uad_orchestrator.detectors.bank.anomaly_dino_settings import AnomalyDinoScoring
from uad_orchestrator.detectors.protocol.fitted_look import fitted_on
from uad_orchestrator.embedders.create import embedder_spec
from uad_orchestrator.embedders.open_clip import vit as open_clip_vit
from uad_orchestrator.embedders.timm import cnn as timm_cnn
from uad_orchestrator.embedders.timm import vit as timm_vit
from uad_orchestrator.embedders.torchvision import cnn as torchvision_cnn
from uad_orchestrator.export.onnx.preset import inexpressible
from uad_orchestrator.inference.bundle import Bundle

DETECTORS = ("vision_patchcore", "vision_softpatch", "vision_anomalydino")
EMBEDDERS = (torchvision_cnn.SPEC, timm_cnn.SPEC, timm_vit.SPEC, open_clip_vit.SPEC)

LARGEST_FILE = 2_000_000_000
"""Bytes: one protobuf message, which an ONNX file is, ends at 2 GiB."""


def refusals(bundle: Bundle) -> list[str]:
    """Everything that stands against an export.

    Args:
        bundle: the cell.

    Returns:
        A line for each; none where it can be exported.
    """
    if bundle.model not in DETECTORS:
        return [f"detector {bundle.model}: {', '.join(DETECTORS)} can be exported"]
    return [*_of_settings(bundle), *_of_embedder(bundle), *_of_images(bundle), *_of_size(bundle)]


def fixed_size(bundle: Bundle) -> tuple[int, int] | None:
    """``(H, W)`` of all images where a region of interest says which patches count; None: images may be of any size.

    Args:
        bundle: the cell; without ``refusals``.
    """
    known = fitted_on(bundle.state)
    return known.sizes[0] if bundle.preset.has_roi and known is not None else None


def _of_settings(bundle: Bundle) -> Iterator[str]:
    settings = bundle.settings
    if settings.tiling is not None:
        yield "tiling: the file takes an image whole"
    if isinstance(settings.scoring, AnomalyDinoScoring) and settings.scoring.object_mask:
        yield "object_mask: ONNX has no principal components"
    if settings.maps.min_area:
        yield "maps.min_area: ONNX has no connected regions; leave it to what reads the map"
    if "cells" in bundle.state.arrays:
        yield "index: ivf: the file searches the bank exactly, which gives other scores"
    for step in inexpressible(bundle.preset):
        yield f"{step}: OpenCV's result cannot be had from ONNX's operations"


def _of_embedder(bundle: Bundle) -> Iterator[str]:
    embedder = bundle.embedder
    if embedder is None or not any(embedder_spec(embedder.name) is spec for spec in EMBEDDERS):
        name = "its own" if embedder is None else embedder.name
        yield f"embedder {name}: CNNs of torchvision and timm, ViTs of timm and OpenCLIP can be exported"
        return
    if embedder.compute in ("float16", "bfloat16"):
        yield f"embedder.compute: {embedder.compute}: the file computes in float32, which gives other scores"
    if embedder_spec(embedder.name) is open_clip_vit.SPEC and embedder.resize == "shorter_edge":
        yield "embedder.resize: shorter_edge of an OpenCLIP ViT: its attention is written for one size; take squash"


def _of_images(bundle: Bundle) -> Iterator[str]:
    known = fitted_on(bundle.state)
    if known is not None and 8 not in known.bits:
        yield f"images of {known.bits[0]} bits: the file takes 8"
    if bundle.preset.has_roi and (known is None or len(known.sizes) != 1):
        yield (
            "preset step roi with images of several sizes, or of sizes that were not noted: which patches lie inside "
            "is worked out for one size"
        )


def _of_size(bundle: Bundle) -> Iterator[str]:
    weights = bundle.weights.stat().st_size if bundle.weights is not None else 0
    size = bundle.state.arrays["bank"].nbytes + weights
    if size > LARGEST_FILE:
        yield (
            f"a memory bank of {bundle.state.arrays['bank'].nbytes / 1e9:.1f} GB and weights of {weights / 1e9:.1f} "
            "GB: one ONNX file ends at 2 GB; lower coreset.ratio"
        )
