"""From a patch grid to an anomaly map of the original image's size."""

from __future__ import annotations

from typing import Literal

import numpy as np

from uad_orchestrator.embedders.protocol import Region

_VALUES_AT_ONCE = 1 << 16


def anomaly_map(
    patch_grid: np.ndarray,
    region: Region,
    original_size: tuple[int, int],
    input_size: tuple[int, int],
    *,
    gaussian_sigma: float = 4.0,
    sigma_space: Literal["input", "image"] = "input",
) -> np.ndarray:
    """Lay a patch grid back on its image: bilinear, then blurred.

    With ``sigma_space="input"`` the grid is brought to the model's input size, blurred there (as PatchCore
    does) and brought to the image; with ``"image"`` it is brought to the image and blurred there
    (AnomalyDINO). What the grid does not cover takes the value of the nearest covered pixel.

    Args:
        patch_grid: ``(gh, gw)`` patch scores.
        region: part of the image that the grid covers, in pixels.
        original_size: ``(H, W)`` of the image.
        input_size: ``(h, w)`` of the region at the model's input.
        gaussian_sigma: in pixels of ``sigma_space``; 0: no blur.
        sigma_space: where it is blurred: at the model's ``input`` size, or at the ``image``'s own.

    Returns:
        ``(H, W)`` float32, in the unit of the patch scores.

    >>> anomaly_map(np.eye(2), Region(0, 0, 4, 4), (4, 4), (4, 4), gaussian_sigma=0)[0].tolist()
    [1.0, 0.75, 0.25, 0.0]
    """
    scores = np.asarray(patch_grid, dtype=np.float32)
    if sigma_space == "input" and gaussian_sigma > 0:
        whole = Region(0.0, 0.0, float(input_size[0]), float(input_size[1]))
        scores = gaussian_blur(resize_to_image(scores, whole, input_size), gaussian_sigma)
    laid = resize_to_image(scores, region, original_size)
    return gaussian_blur(laid, gaussian_sigma) if sigma_space == "image" and gaussian_sigma > 0 else laid


def resize_to_image(scores: np.ndarray, region: Region, size: tuple[int, int]) -> np.ndarray:
    """Resample ``scores``, which cover ``region`` of a canvas, onto the whole canvas.

    Bilinear between pixel centres (torch's ``align_corners=False``), the edge value beyond them; the region
    may begin and end within a pixel.

    Args:
        scores: ``(h, w)`` float32.
        region: where they lie on the canvas, in its pixels.
        size: ``(H, W)`` of the canvas.

    Returns:
        ``(H, W)`` float32.
    """
    if scores.shape == size and region == (0, 0, *size):
        return scores.copy()  # a value per pixel already, as where the model sees images at their own size
    rows = _taps(scores.shape[0], region.top, region.bottom, size[0])
    columns = _taps(scores.shape[1], region.left, region.right, size[1])
    return _interpolate(_interpolate(scores.T, *columns).T, *rows)


def gaussian_blur(scores: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur as ``scipy.ndimage.gaussian_filter``: cut at 4 sigma, border reflected.

    Args:
        scores: ``(h, w)`` float32.
        sigma: in pixels, above 0.

    Returns:
        ``(h, w)`` float32.
    """
    import cv2

    side = 2 * int(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(scores, (side, side), sigma, borderType=cv2.BORDER_REFLECT)


def _taps(count: int, begin: float, end: float, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not begin < end:
        raise ValueError(f"a region from {begin} to {end} covers nothing")
    at = (np.arange(size) + 0.5 - begin) * (count / (end - begin)) - 0.5
    at = np.clip(at, 0, count - 1)
    low = np.minimum(at.astype(np.int64), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    return low, high, (at - low).astype(np.float32)


def _interpolate(scores: np.ndarray, low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rows between the rows ``low`` and ``high``, some at a time: what lies between two steps stays in the cache."""
    scores = np.ascontiguousarray(scores)
    width = scores.shape[1]
    rows = max(1, _VALUES_AT_ONCE // width)
    between, lower = np.empty((low.size, width), np.float32), np.empty((rows, width), np.float32)
    for start in range(0, low.size, rows):
        part = slice(start, start + rows)
        upper, below = between[part], lower[: low[part].size]
        scores.take(low[part], axis=0, out=below, mode="clip")  # nothing is clipped: take's fastest mode
        scores.take(high[part], axis=0, out=upper, mode="clip")
        upper -= below
        upper *= weight[part, None]
        upper += below
    return between
