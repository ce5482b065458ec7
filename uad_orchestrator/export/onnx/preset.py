"""The steps of a preset as tensor operations: those that can be written so that the same pixels come out.

Images are ``(3, H, W)`` float32 in [0, 1], as between the steps of ``preprocessing.steps``, whose functions these are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uad_orchestrator.export.onnx.interpolation import (
    area_or_linear,
    blurred,
    laid_on,
    padded,
    stretched,
)
from uad_orchestrator.preprocessing import settings
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.resize import ResizeScale, ResizeShorterEdge, ResizeSquash
from uad_orchestrator.preprocessing.roi import Roi
from uad_orchestrator.preprocessing.step import StepSettings
from uad_orchestrator.preprocessing.steps import LUMA

MIRRORED = 3
"""Times that a small image is mirrored on both sides of itself: enough for a blur of four times its shorter edge."""


def inexpressible(preset: Preset) -> list[str]:
    """The pixel steps that have no counterpart here, by the words of the project file."""
    return [
        f"preset step {step.STEP}: {getattr(step, 'method', '')}"
        for step in preset.steps
        if not isinstance(step, Roi) and not _expressible(step)
    ]


def prepared(preset: Preset, image: Any, tint: Sequence[float] | None) -> Any:
    """An image as it goes into the embedder.

    Args:
        preset: its steps but the region of interest, which changes no pixel.
        image: ``(3, H, W)`` float32, whole numbers from 0 to 255.
        tint: the mean colour that ``uad infer`` gives a grey image; None: it stays grey.

    Returns:
        ``(3, h, w)`` float32 in [0, 1], whole multiples of 1 / 255, as the image that the steps give is one of 8 bits.
    """
    image = image if tint is None else _tinted(image, tint)
    steps = [step for step in preset.steps if step.CHANGES_PIXELS]
    if not steps:
        return image / 255
    unit = image / 255
    for step in steps:
        unit = _STEPS[type(step)](unit, step)
    return (unit.clamp(0, 1) * 255).round() / 255


def _expressible(step: StepSettings) -> bool:
    if isinstance(step, settings.ColorSpace):
        return step.method == "gray"  # OpenCV takes L*a*b* from a table, and half a level beside the formula
    return type(step) in _STEPS


def _tinted(image: Any, tint: Sequence[float]) -> Any:
    """A grey image in the mean colour of those fitted on; one of a single value stays (``FittedOn.tint_of``)."""
    import torch

    red, green, blue = image[0], image[1], image[2]
    grey = ((red - green).abs().amax() + (green - blue).abs().amax() == 0) & (red.amin() < red.amax())
    gains = torch.tensor(tuple(tint), dtype=torch.float32)[:, None, None]
    return torch.where(grey, (image * gains).round(), image)


def _luminance(unit: Any) -> Any:
    import torch

    return (unit * torch.from_numpy(LUMA)[:, None, None]).sum(dim=0)


def _gray_world(unit: Any, _: settings.GrayWorld) -> Any:
    levels = unit.mean(dim=2).mean(dim=1)  # an axis at a time: sums of float32 stay short
    return _scaled_to(unit, levels, levels.mean())


def _max_rgb(unit: Any, step: settings.MaxRgb) -> Any:
    levels = _percentile(unit.flatten(1), step.percentile)
    return _scaled_to(unit, levels, levels.amax())


def _scaled_to(unit: Any, levels: Any, common: Any) -> Any:
    import torch

    lit = levels > 0
    gains = torch.where(
        lit, common / torch.where(lit, levels, torch.ones_like(levels)), torch.ones_like(levels)
    )
    return unit * gains[:, None, None]


def _percentile(values: Any, percent: float) -> Any:
    """``numpy.percentile`` along the last axis, from the end that is nearer: few values are sorted."""
    import torch

    count = torch.as_tensor(values.shape[-1])
    at = (count - 1).double() * (percent / 100)
    low = at.floor().long()
    from_top = percent >= 50
    sorted_values = values.topk(
        count - low if from_top else torch.minimum(low + 2, count), largest=from_top
    ).values
    last = torch.as_tensor(sorted_values.shape[-1]) - 1
    lower, upper = (last, torch.clamp(last - 1, min=0)) if from_top else (low, torch.minimum(low + 1, last))
    below = sorted_values.index_select(-1, lower.reshape(1))[..., 0]
    above = sorted_values.index_select(-1, upper.reshape(1))[..., 0]
    return below + (above - below) * (at - low).float()


def _contrast_stretch(unit: Any, step: settings.ContrastStretch) -> Any:
    import torch

    luminance = _luminance(unit).flatten()
    low, high = _percentile(luminance, step.low), _percentile(luminance, step.high)
    spread = high > low
    return torch.where(spread, (unit - low) / torch.where(spread, high - low, torch.ones_like(high)), unit)


def _gamma(unit: Any, step: settings.Gamma) -> Any:
    return unit.clamp(0, 1) ** step.gamma


def _homomorphic(unit: Any, step: settings.Homomorphic) -> Any:
    logarithm = (_luminance(unit).clamp(min=0) + 1 / 255).log()
    illumination = _wide_gaussian(logarithm, step.cutoff)
    mean = illumination.mean(dim=1).mean()
    reflectance = logarithm - illumination
    wanted = mean + (illumination - mean) * step.low_gain + reflectance * step.high_gain
    return unit * (wanted - logarithm).exp()


def _wide_gaussian(values: Any, cutoff: float) -> Any:
    """``(H, W)`` blurred by ``cutoff`` times the shorter edge, on a smaller image where that is more than 8 pixels."""
    import torch

    height, width = (torch.as_tensor(side) for side in values.shape)
    sigma = cutoff * torch.minimum(height, width).double()
    shrink = torch.clamp(sigma / 8, min=1.0)
    small_height, small_width = (
        torch.clamp((side / shrink).round().long(), min=1) for side in (height, width)
    )
    small = stretched(values, area_or_linear(height, small_height), area_or_linear(width, small_width))
    deviation = (sigma / shrink).float()
    small = stretched(
        small, _gaussian_matrix(small_height, deviation), _gaussian_matrix(small_width, deviation)
    )
    return laid_on(laid_on(small, 1, 0.0, width.float(), width), 0, 0.0, height.float(), height)


def _gaussian_matrix(count: Any, sigma: Any) -> Any:
    """``(count, count)``: a blur as OpenCV's of float32, cut at about 4 sigma, the border mirrored."""
    import torch

    radius = torch.div((sigma * 8 + 1).round(), 2, rounding_mode="floor")
    places = torch.arange(count)
    total: Any = 0
    for turn in range(-MIRRORED, MIRRORED + 1):
        shift = 2 * turn * torch.as_tensor(count)
        for at in (places + shift, -1 - places + shift):
            distance = (at[None] - places[:, None]).float()
            weight = torch.exp(-0.5 * (distance / sigma) ** 2)
            total = total + torch.where(distance.abs() <= radius, weight, torch.zeros_like(weight))
    return total / total.sum(dim=1, keepdim=True)


def _gaussian_denoise(unit: Any, step: settings.GaussianDenoise) -> Any:
    import cv2

    side = round(step.sigma * 8 + 1) | 1  # what OpenCV takes of float32
    return blurred(unit, cv2.getGaussianKernel(side, step.sigma)[:, 0], "reflect_101")


def _median_denoise(unit: Any, step: settings.MedianDenoise) -> Any:
    import torch

    radius, count = step.size // 2, step.size**2
    wide = padded(padded(unit, 1, radius, "replicate"), 2, radius, "replicate")
    ends = [(begin, begin - 2 * radius or None) for begin in range(step.size)]
    around = torch.stack(
        [wide[:, top:bottom, left:right] for top, bottom in ends for left, right in ends], dim=-1
    )
    return around.topk(count // 2 + 1, dim=-1).values[..., -1]


def _gray(unit: Any, _: settings.ColorSpace) -> Any:
    return _luminance(unit)[None].expand(3, -1, -1)


def _resize(unit: Any, step: ResizeScale | ResizeShorterEdge | ResizeSquash) -> Any:
    import torch

    height, width = (torch.as_tensor(side) for side in unit.shape[1:])
    if isinstance(step, ResizeSquash):
        rows: Any = step.height
        columns: Any = step.width
    else:
        factor = (
            torch.as_tensor(step.factor, dtype=torch.float64)
            if isinstance(step, ResizeScale)
            else step.pixels / torch.minimum(height, width).double()
        )
        rows, columns = (torch.clamp((side * factor).round().long(), min=1) for side in (height, width))
    return stretched(unit, area_or_linear(height, rows), area_or_linear(width, columns))


_STEPS: dict[type[StepSettings], Callable[[Any, Any], Any]] = {
    settings.GrayWorld: _gray_world,
    settings.MaxRgb: _max_rgb,
    settings.Homomorphic: _homomorphic,
    settings.Gamma: _gamma,
    settings.ContrastStretch: _contrast_stretch,
    settings.GaussianDenoise: _gaussian_denoise,
    settings.MedianDenoise: _median_denoise,
    settings.ColorSpace: _gray,
    ResizeScale: _resize,
    ResizeShorterEdge: _resize,
    ResizeSquash: _resize,
}
