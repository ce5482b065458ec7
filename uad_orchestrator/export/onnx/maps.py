"""From patch scores to the anomaly map, as ``detectors.protocol.maps`` makes it."""

from __future__ import annotations

from typing import Any

from uad_orchestrator.detectors.protocol.settings import MapSettings, MorphologySettings
from uad_orchestrator.export.onnx.interpolation import blurred, laid_on
from uad_orchestrator.postprocess.finishing import MapScale, structuring_element


def anomaly_map(
    grid: Any,
    kept: tuple[Any, Any],
    size: tuple[Any, Any],
    input_size: tuple[Any, Any],
    settings: MapSettings,
    scale: MapScale | None,
) -> Any:
    """The finished map; the removal of small regions is refused before.

    Args:
        grid: ``(gh, gw)`` patch scores.
        kept: which share of the image's height and width the grid covers, from the top left.
        size: ``(H, W)`` of the image.
        input_size: ``(h, w)`` of what the grid covers at the model's input.
        settings: the ``maps:`` settings.
        scale: of the normal maps, where they normalise.

    Returns:
        ``(H, W)`` float32.
    """
    made = _laid(grid, kept, size, input_size, settings)
    if settings.normalisation == "normal_maps":
        assert scale is not None  # a bundle has it
        made = (made - scale.mean) / (scale.std if scale.std > 0 else 1.0)
    if settings.morphology is not None:
        made = _morphology(made, settings.morphology)
    if settings.clip is not None:
        made = made.clamp(*settings.clip)
    return made


def _laid(
    grid: Any,
    kept: tuple[Any, Any],
    size: tuple[Any, Any],
    input_size: tuple[Any, Any],
    settings: MapSettings,
) -> Any:
    at_input, at_image = (
        settings.gaussian_sigma > 0 and settings.sigma_space == s for s in ("input", "image")
    )
    if at_input:
        for axis in (1, 0):
            grid = laid_on(grid, axis, 0.0, input_size[axis].float(), input_size[axis])
        grid = _blurred(grid, settings.gaussian_sigma)
    for axis in (1, 0):
        grid = laid_on(grid, axis, 0.0, size[axis].float() * kept[axis], size[axis])
    return _blurred(grid, settings.gaussian_sigma) if at_image else grid


def _blurred(scores: Any, sigma: float) -> Any:
    import cv2

    side = 2 * int(4 * sigma + 0.5) + 1
    return blurred(scores[None], cv2.getGaussianKernel(side, sigma)[:, 0], "symmetric")[0]


def _morphology(scores: Any, settings: MorphologySettings) -> Any:
    steps = {"dilation": (1,), "erosion": (-1,), "opening": (-1, 1), "closing": (1, -1)}[settings.operation]
    for sign in steps:
        scores = sign * _dilated(sign * scores, settings)
    return scores


def _dilated(scores: Any, settings: MorphologySettings) -> Any:
    """The largest value around each pixel, the element taken row by row; nothing beyond the border counts."""
    import torch
    from torch.nn import functional

    radius = settings.size // 2
    widths = structuring_element(settings.size, settings.shape).sum(axis=1).tolist()
    lowest = float(torch.finfo(torch.float32).min)
    tall = functional.pad(scores[None, None], (0, 0, radius, radius), value=lowest)
    rows = [
        functional.max_pool2d(
            tall[:, :, row : row - 2 * radius or None], (1, width), stride=1, padding=(0, width // 2)
        )
        for row, width in enumerate(widths)
    ]
    return torch.stack(rows).amax(dim=0)[0, 0]
