"""``filter_bank``: classical patch embeddings, without weights and without torch.

The responses of MR8 (Varma & Zisserman, IJCV 2005: edges and bars at three scales, maximum over
orientations, plus Gaussian and Laplacian), computed with steerable Gaussian derivatives: the maximum over
all orientations of an edge filter is the gradient's magnitude, of a bar filter the larger eigenvalue of the
Hessian. So they do not change when a part is rotated. They are taken on intensity and on two opponent
colours, averaged and peak-pooled over cells of 8 x 8 input pixels, beside local means and contrasts of colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.embedders.input_plan import check_sizes, plan_input
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.source import RgbImage

VERSION = 1
CELL = 8
"""Side of a patch in pixels of the model's input."""

DERIVATIVE_SCALES = (1.0, 2.0, 4.0)
COLOR_SCALES = (2.0, 6.0, 16.0)
EDGE_WEIGHT, BAR_WEIGHT, CONTRAST_WEIGHT, COLOR_WEIGHT, PEAK_WEIGHT = 1.0, 1.0, 1.0, 1.0, 0.5


def resolve(settings: EmbedderSettings) -> EmbedderSettings:
    """Defaults filled in; what this embedder does not read is refused.

    Raises:
        ValueError: a setting that would do nothing here, or an unknown resize policy.
    """
    for key in ("weights", "layers", "dimension", "mean", "std", "pos_embed"):
        if getattr(settings, key) is not None:
            raise ValueError(f"embedder.{key}: filter_bank has no {key}; leave the key out")
    if settings.download:
        raise ValueError("embedder.download: filter_bank needs no weights; leave the key out")
    resolved = settings.model_copy(
        update={"image_size": settings.image_size or 256, "resize": settings.resize or "squash"}
    )
    check_sizes(resolved)
    return resolved


class FilterBank:
    """The embedder; see the module's text.

    Args:
        settings: name, image_size, resize; defaults are filled in.

    Example:
        >>> embedding = FilterBank(EmbedderSettings(name="filter_bank")).embed(np.zeros((300, 200, 3), np.uint8))
        >>> embedding.grid_shape, embedding.patch_embeddings.dtype, embedding.input_size
        ((32, 32), dtype('float32'), (256, 256))
    """

    def __init__(self, settings: EmbedderSettings) -> None:
        self.settings = resolve(settings)

    def recipe(self) -> dict[str, Any]:
        """Name, version, sizes and resize policy."""
        return recipe(self.settings)

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """Patch embeddings of one ``(H, W, 3)`` uint8 or uint16 image, on a grid over all of it."""
        height, width = image.shape[:2]
        plan = plan_input((height, width), self.settings)
        rows, columns = (max(1, round(side / CELL)) for side in plan.input_size)
        unit = _resized_to_unit(image, plan.resized_size)
        pooled = [_pool(response, (rows, columns), peak) for response, peak in _responses(unit)]
        patches = np.stack(pooled, axis=-1).reshape(rows * columns, -1)
        return PatchEmbedding(patches, (rows, columns), (height, width), plan.region, plan.input_size)

    def embed_batch(self, images: Sequence[RgbImage]) -> list[PatchEmbedding]:
        """One result per image, in order; each exactly as ``embed`` gives it."""
        return [self.embed(image) for image in images]


def recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """The recipe of resolved settings."""
    return {
        "embedder": "filter_bank",
        "version": VERSION,
        "image_size": settings.image_size,
        "resize": settings.resize,
    }


def default_hub(settings: EmbedderSettings) -> str | None:
    """None: there are no weights."""
    return None


def create(settings: EmbedderSettings, weights: Path | None, device: str) -> FilterBank:
    """The embedder; it has no weights and runs on the CPU."""
    return FilterBank(settings)


def _resized_to_unit(image: RgbImage, size: tuple[int, int]) -> np.ndarray:
    """float32 RGB in [0, 1] at ``size``: area average down, bilinear up."""
    import cv2

    unit = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    if unit.shape[:2] == size:
        return unit
    shrinks = size[0] * size[1] < unit.shape[0] * unit.shape[1]
    return cv2.resize(unit, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _opponent_colors(unit: np.ndarray) -> list[np.ndarray]:
    """Intensity, red-green, yellow-blue: orthogonal axes of RGB."""
    red, green, blue = unit[..., 0], unit[..., 1], unit[..., 2]
    return [
        (red + green + blue) / np.float32(3),
        (red - green) / np.float32(2**0.5),
        (red + green - 2 * blue) / np.float32(6**0.5),
    ]


def _responses(unit: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """Every weighted response map ``(h, w)`` float32, and whether its peaks are pooled beside its mean."""
    import cv2

    for channel in _opponent_colors(unit):
        for sigma in COLOR_SCALES:
            yield COLOR_WEIGHT * _blur(channel, sigma), False
        for sigma in DERIVATIVE_SCALES:
            smooth = _blur(channel, sigma)
            dx, dy = _central(smooth, 1), _central(smooth, 0)
            magnitude = cv2.sqrt(dx * dx + dy * dy) * np.float32(sigma * EDGE_WEIGHT)
            yield magnitude, False
            yield magnitude * np.float32(PEAK_WEIGHT), True
            dxx, dyy, dxy = _central(dx, 1), _central(dy, 0), _central(dx, 0)
            half_trace, spread = (dxx + dyy) / 2, cv2.sqrt(((dxx - dyy) / 2) ** 2 + dxy**2)
            for eigenvalue in (half_trace + spread, half_trace - spread):
                yield eigenvalue * np.float32(sigma**2 * BAR_WEIGHT), False


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _central(image: np.ndarray, axis: int) -> np.ndarray:
    """Central difference, replicated at the border."""
    import cv2

    kernel = np.array([-0.5, 0, 0.5], np.float32)
    one = np.ones(1, np.float32)
    along_x, along_y = (kernel, one) if axis == 1 else (one, kernel)
    return cv2.sepFilter2D(image, cv2.CV_32F, along_x, along_y, borderType=cv2.BORDER_REPLICATE)


def _pool(response: np.ndarray, grid_shape: tuple[int, int], peak: bool) -> np.ndarray:
    """Mean over each cell, or the cell's root of the mean fourth power, which follows its strongest pixels."""
    import cv2

    size = grid_shape[::-1]
    if not peak:
        return cv2.resize(response, size, interpolation=cv2.INTER_AREA)
    fourth = cv2.resize(response**4, size, interpolation=cv2.INTER_AREA)
    return cv2.sqrt(cv2.sqrt(np.maximum(fourth, 0)))
