"""A cell as one torch module: image in, score and anomaly map out."""

from __future__ import annotations

from typing import Any

import numpy as np

from uad_orchestrator.detectors.protocol.fitted_look import fitted_on
from uad_orchestrator.embedders.create import create_embedder
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder
from uad_orchestrator.export.onnx.maps import anomaly_map
from uad_orchestrator.export.onnx.network import exported_network, network_input
from uad_orchestrator.export.onnx.preset import prepared
from uad_orchestrator.export.onnx.scores import patch_scores
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.bundle import Bundle

Size = tuple[int, int]


def cell_module(bundle: Bundle, size: Size | None) -> Any:
    """The cell of a bundle that ``refusals`` has nothing against.

    Args:
        bundle: the cell.
        size: ``(H, W)`` of every image, where a region of interest fixes it; None: any.

    Returns:
        A ``torch.nn.Module`` from ``(1, H, W, 3)`` uint8 to ``(1,)`` and ``(1, H, W)`` float32.

    Raises:
        ExportError: a network that cannot be written for inputs of any size.
        WeightsError, ImportError: as ``create_embedder``.
    """
    import torch

    assert bundle.embedder is not None  # ``refusals`` asks for one
    created = create_embedder(bundle.embedder, bundle.weights, "cpu")
    assert isinstance(created, TorchEmbedder)  # likewise
    embedder: TorchEmbedder = created
    network = exported_network(embedder)
    scores = patch_scores(bundle.settings.scoring, bundle.state)
    inspected = None if size is None else _inspected(bundle, size)
    known = fitted_on(bundle.state)
    tint = None if known is None else known.tint
    maps, scale = bundle.settings.maps, bundle.calibration.map_scale

    class Cell(torch.nn.Module):
        def forward(self, image: Any) -> tuple[Any, Any]:
            height, width = (torch.as_tensor(side) for side in image.shape[1:3])
            unit = prepared(bundle.preset, image[0].permute(2, 0, 1).float(), tint)
            given = network_input(unit, embedder)
            grid = network(given.batch)
            score, patches = scores(_chosen(grid.flatten(0, 1), inspected))
            laid = _spread(patches, inspected).reshape(grid.shape[0], grid.shape[1])
            return score, anomaly_map(laid, given.kept, (height, width), given.size, maps, scale)[None]

    return Cell().eval()


def _inspected(bundle: Bundle, size: Size) -> np.ndarray | None:
    """``(gh * gw,)`` bool, the patches of an image of that size that its region of interest lets be inspected."""
    stream = bundle.detector(device="cpu").stream
    if stream.roi is None:
        return None
    source = ImageSource.from_array(np.zeros((*size, 3), np.uint8), name="an image of that size")
    return stream.roi.inspected(source, stream.cells(source))


def _chosen(patches: Any, inspected: np.ndarray | None) -> Any:
    import torch

    return patches if inspected is None else patches[torch.from_numpy(np.flatnonzero(inspected))]


def _spread(scores: Any, inspected: np.ndarray | None) -> Any:
    """Scores of the inspected patches on the whole grid; the others get the lowest of them."""
    import torch

    if inspected is None:
        return scores
    number = np.where(inspected, np.cumsum(inspected) - 1, 0)
    return torch.where(torch.from_numpy(inspected), scores[torch.from_numpy(number)], scores.amin())
