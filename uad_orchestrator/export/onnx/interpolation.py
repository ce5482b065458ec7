"""Resampling as matrices, whose weights a graph works out from the sizes of the image it is given.

ONNX's own Resize differs between runtimes in what it offers (antialiasing, area means, how cubic weights are cut); a
matrix product does not. Sizes are 0-dimensional int64 tensors where they follow from the image, else plain numbers.
"""

from __future__ import annotations

from typing import Any, Literal

from uad_orchestrator.embedders.position_embedding import OFFSET

Interpolation = Literal["bilinear", "bicubic"]

BORDERS = Literal["symmetric", "reflect_101", "replicate"]
"""What lies beyond an edge: the picture mirrored with its last pixel, without it, or that pixel."""


def stretched(values: Any, rows: Any, columns: Any) -> Any:
    """``(h, w)`` or ``(channels, h, w)`` values brought to another height and width by two matrices.

    By products of two axes alone: OpenVINO fails at others where it does not know the sizes beforehand. And by
    ``reshape``: behind ``unflatten`` the exporter takes the sizes of its example for those of every image.
    """
    if values.ndim == 2:
        return rows @ values @ columns.T
    channels = len(values)
    tall = (rows @ values.permute(1, 0, 2).flatten(1)).reshape(rows.shape[0], channels, -1)
    return (tall.flatten(0, 1) @ columns.T).reshape(-1, channels, columns.shape[0]).permute(1, 0, 2)


def antialiased(count: Any, size: Any, interpolation: Interpolation) -> Any:
    """``torch.nn.functional.interpolate(antialias=True, align_corners=False)`` of one axis.

    Args:
        count: values there are.
        size: values wanted.
        interpolation: triangle, or the cubic kernel with a = -0.5 that torch takes where it antialiases.

    Returns:
        ``(size, count)`` float32.
    """
    import torch

    scale = _ratio(count, size)
    distance = (_centres(count)[None] - _centres(size)[:, None] * scale) / torch.clamp(scale, min=1.0)
    kernel = (
        torch.clamp(1 - distance.abs(), min=0.0) if interpolation == "bilinear" else _cubic(distance, -0.5)
    )
    return kernel / kernel.sum(dim=1, keepdim=True)


def hub_positions(count: int, size: Any, unchanged: Any) -> Any:
    """One axis of how DINOv2's repository resamples trained positions (``embedders.position_embedding``).

    Args:
        count: trained positions.
        size: positions wanted.
        unchanged: bool tensor, whether both axes are of the trained size: then nothing is resampled.

    Returns:
        ``(size, count)`` float32.
    """
    import torch

    scale = count / (torch.as_tensor(size).float() + OFFSET)
    at = _centres(size) * scale - 0.5
    taps = torch.arange(-2, count + 2, dtype=torch.float32)  # two beyond each edge, which count as the edge
    weights = _cubic(taps[None] - at[:, None], -0.75)
    first, last = weights[:, :3].sum(dim=1, keepdim=True), weights[:, -3:].sum(dim=1, keepdim=True)
    resampled = torch.cat([first, weights[:, 3:-3], last], dim=1)
    same = (_centres(size)[:, None] == _centres(count)[None]).float()
    return torch.where(unchanged, same, resampled)


def area_or_linear(count: Any, size: Any) -> Any:
    """An axis as the preset's step ``resize`` does it: means over the area where it shrinks, bilinear where it grows.

    Returns:
        ``(size, count)`` float32.
    """
    import torch

    scale = _ratio(count, size)
    begin, pixel = (_centres(size)[:, None] - 0.5) * scale, _centres(count)[None] - 0.5
    covered = torch.minimum(pixel + 1, begin + scale) - torch.maximum(pixel, begin)
    covered = torch.clamp(covered, min=0.0)
    area = covered / covered.sum(dim=1, keepdim=True)
    at = torch.clamp(_centres(size)[:, None] * scale - 0.5, min=0.0)
    at = torch.minimum(at, torch.as_tensor(count).float() - 1)
    linear = torch.clamp(1 - (at - pixel).abs(), min=0.0)
    return torch.where(scale > 1, area, linear)


def laid_on(values: Any, axis: int, begin: float, end: Any, size: Any) -> Any:
    """``postprocess.anomaly_map.resize_to_image`` along one axis.

    Args:
        values: ``(h, w)``.
        axis: which of both is resampled.
        begin: where the values begin on the canvas, in its pixels.
        end: where they end.
        size: pixels of the canvas.

    Returns:
        Values of ``size`` along the axis.
    """
    import torch

    count = torch.as_tensor(values.shape[axis])
    at = (_centres(size) - begin) * (count.float() / (end - begin)) - 0.5
    at = torch.minimum(torch.clamp(at, min=0.0), count.float() - 1)
    low = torch.minimum(at.long(), torch.clamp(count - 2, min=0))
    high = torch.minimum(low + 1, count - 1)
    weight = (at - low.float()).unsqueeze(1 - axis)
    lower, upper = values.index_select(axis, low), values.index_select(axis, high)
    return lower + (upper - lower) * weight


def padded(values: Any, axis: int, radius: int, border: BORDERS) -> Any:
    """Values with ``radius`` more at both ends of an axis, however short that is."""
    import torch

    count = torch.as_tensor(values.shape[axis])
    end: Any = count + radius
    at = torch.arange(-radius, end)
    if border == "replicate":
        at = torch.minimum(torch.clamp(at, min=0), count - 1)
    else:
        last = 2 * count - (1 if border == "symmetric" else 2)  # the place that mirrors the first
        period = 2 * count if border == "symmetric" else torch.clamp(2 * count - 2, min=1)
        at = torch.remainder(at, period)
        at = torch.where(at < count, at, last - at)
    return values.index_select(axis, at)


def blurred(values: Any, kernel: Any, border: BORDERS) -> Any:
    """``(channels, h, w)`` values, each channel blurred by an odd one-dimensional kernel along both axes."""
    import torch
    from torch.nn import functional

    radius = len(kernel) // 2
    kernel = torch.as_tensor(kernel, dtype=torch.float32)
    for axis, shape in ((1, (1, 1, -1, 1)), (2, (1, 1, 1, -1))):
        rows = padded(values, axis, radius, border)
        values = functional.conv2d(rows[:, None], kernel.reshape(shape))[:, 0]
    return values


def _centres(count: Any) -> Any:
    """``(count,)`` float32: 0.5, 1.5, ..."""
    import torch

    return torch.arange(count, dtype=torch.float32) + 0.5


def _ratio(count: Any, size: Any) -> Any:
    import torch

    return torch.as_tensor(count).float() / torch.as_tensor(size).float()


def _cubic(distance: Any, a: float) -> Any:
    """The cubic convolution kernel (Keys, 1981)."""
    import torch

    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
