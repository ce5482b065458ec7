"""The steps that change pixels: float32 RGB in [0, 1] in, the same out.

Values may leave [0, 1] between steps where a step amplifies; ``from_unit`` clips once at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.preprocessing import settings
from uad_orchestrator.preprocessing.resize import resize
from uad_orchestrator.preprocessing.step import StepSettings

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601 luma of R, G, B."""


def to_unit(image: RgbImage) -> np.ndarray:
    """``(H, W, 3)`` uint8 or uint16 -> float32 in [0, 1].

    Raises:
        ValueError: another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"expected an RGB image (H, W, 3) of uint8 or uint16, got {image.shape} of {image.dtype}"
        )
    unit = image.astype(np.float32)
    unit /= np.float32(np.iinfo(image.dtype).max)  # in place here and below: these are the large arrays
    return unit


def from_unit(unit: np.ndarray, dtype: np.dtype) -> RgbImage:
    """float32 -> uint8 or uint16, clipped to [0, 1] and rounded to the nearest value."""
    values = np.clip(unit, 0, 1)
    values *= np.float32(np.iinfo(dtype).max)
    return np.rint(values, out=values).astype(dtype)


def apply_step(step: StepSettings, unit: np.ndarray) -> np.ndarray:
    """One step on a float32 RGB image in [0, 1]; the input is left as it is."""
    return _STEPS[type(step)](unit, step)


def gray_world(unit: np.ndarray, _: settings.GrayWorld) -> np.ndarray:
    """Every channel scaled to the mean of the channel means; a black channel stays."""
    return _scale_to_common_level(unit, unit.mean(axis=(0, 1), dtype=np.float64), np.mean)


def max_rgb(unit: np.ndarray, step: settings.MaxRgb) -> np.ndarray:
    """Every channel's bright percentile scaled to that of the brightest channel."""
    return _scale_to_common_level(unit, np.percentile(unit, step.percentile, axis=(0, 1)), np.max)


def _scale_to_common_level(
    unit: np.ndarray, levels: np.ndarray, common: Callable[[np.ndarray], Any]
) -> np.ndarray:
    gains = np.divide(common(levels), levels, out=np.ones(3), where=levels > 0)
    return unit * gains.astype(np.float32)


def homomorphic(unit: np.ndarray, step: settings.Homomorphic) -> np.ndarray:
    """Log luminance = illumination (Gaussian low-pass) + reflectance, recombined with the two gains.

    The mean illumination is kept, so brightness stays where it was; channels are scaled by the luminance's
    ratio, so the chromaticity stays too.
    """
    return unit * _homomorphic_gain(unit @ LUMA, step)[..., None]


def _homomorphic_gain(luminance: np.ndarray, step: settings.Homomorphic) -> np.ndarray:
    """``(H, W)``: the wanted luminance over that which is there, taken in logarithms; in place, as ``to_unit``."""
    logarithm = np.maximum(luminance, 0)
    logarithm += np.float32(1 / 255)
    np.log(logarithm, out=logarithm)
    illumination = _wide_gaussian(logarithm, step.cutoff * min(luminance.shape))
    mean = np.float32(illumination.mean(dtype=np.float64))
    reflectance = logarithm - illumination
    reflectance *= step.high_gain
    wanted = illumination
    wanted -= mean
    wanted *= step.low_gain
    wanted += mean
    wanted += reflectance
    wanted -= logarithm
    return np.exp(wanted, out=wanted)


def _wide_gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, done on a smaller image where sigma is large: it holds nothing finer than sigma."""
    import cv2

    shrink = max(1.0, sigma / 8)
    height, width = image.shape
    small_size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)


def clahe(unit: np.ndarray, step: settings.Clahe) -> np.ndarray:
    """CLAHE of the luminance; the difference is added to all channels.

    At 8 bit for every input: with 16-bit histograms OpenCV's clip limit falls below one count per level in
    tiles of fewer than 65536 pixels, and then does nothing.
    """
    import cv2

    levels = np.rint(np.clip(unit @ LUMA, 0, 1) * 255).astype(np.uint8)
    equalised = cv2.createCLAHE(step.clip_limit, (step.tiles, step.tiles)).apply(levels)
    return unit + ((equalised.astype(np.float32) - levels) / 255)[..., None]


def gamma(unit: np.ndarray, step: settings.Gamma) -> np.ndarray:
    """``in ** gamma`` per channel."""
    return np.clip(unit, 0, 1) ** np.float32(step.gamma)


def contrast_stretch(unit: np.ndarray, step: settings.ContrastStretch) -> np.ndarray:
    """The luminance's two percentiles go to 0 and 1; a flat image stays."""
    low, high = np.percentile(unit @ LUMA, [step.low, step.high]).astype(np.float32)
    return (unit - low) / (high - low) if high > low else unit


def gaussian_denoise(unit: np.ndarray, step: settings.GaussianDenoise) -> np.ndarray:
    """Gaussian blur, reflected at the border."""
    import cv2

    return cv2.GaussianBlur(unit, (0, 0), step.sigma, borderType=cv2.BORDER_REFLECT_101)


def median_denoise(unit: np.ndarray, step: settings.MedianDenoise) -> np.ndarray:
    """Median per channel."""
    import cv2

    return cv2.medianBlur(np.ascontiguousarray(unit), step.size)


def bilateral_denoise(unit: np.ndarray, step: settings.BilateralDenoise) -> np.ndarray:
    """Bilateral filter over the three channels together."""
    import cv2

    return cv2.bilateralFilter(np.ascontiguousarray(unit), -1, step.sigma_color, step.sigma_space)


def color_space(unit: np.ndarray, step: settings.ColorSpace) -> np.ndarray:
    """Luminance replicated, or L*a*b* with L / 100 and (a, b) / 255 + 0.5."""
    import cv2

    if step.method == "gray":
        return np.repeat((unit @ LUMA)[..., None], 3, axis=2)
    lab = cv2.cvtColor(np.clip(unit, 0, 1), cv2.COLOR_RGB2Lab)
    return lab / np.array([100, 255, 255], np.float32) + np.array([0, 0.5, 0.5], np.float32)


_STEPS: dict[type[StepSettings], Callable[[np.ndarray, Any], np.ndarray]] = {
    settings.GrayWorld: gray_world,
    settings.MaxRgb: max_rgb,
    settings.Homomorphic: homomorphic,
    settings.Clahe: clahe,
    settings.Gamma: gamma,
    settings.ContrastStretch: contrast_stretch,
    settings.GaussianDenoise: gaussian_denoise,
    settings.MedianDenoise: median_denoise,
    settings.BilateralDenoise: bilateral_denoise,
    settings.ColorSpace: color_space,
    settings.ResizeScale: resize,
    settings.ResizeShorterEdge: resize,
    settings.ResizeSquash: resize,
}
