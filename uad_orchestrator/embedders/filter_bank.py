"""``filter_bank``: classical patch embeddings, without weights and without torch.

The responses of MR8 (Varma & Zisserman, IJCV 2005: edges and bars at three scales, maximum over
orientations), computed with steerable Gaussian derivatives: the maximum over all orientations of an edge
filter is the gradient's magnitude, of a bar filter an eigenvalue of the Hessian. So they stay what they are
when a part is rotated, and nothing depends on where it lies. They are taken on intensity and on two opponent
colours, averaged and peak-pooled over cells of 8 x 8 input pixels, and saturate (``x / (|x| + c)``), so that
the variation of strong edges does not drown faint defects. Beside them stand local contrast and local means
of colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.embedders.family import EmbedderSpec
from uad_orchestrator.embedders.input_plan import check_image, check_sizes, plan_input
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.decode import RgbImage

VERSION = 1
CELL = 8
"""Side of a patch in pixels of the model's input."""

DERIVATIVE_SCALES = (1.0, 2.0, 4.0)
"""Gaussian sigmas in pixels of the model's input."""

COLOR_SCALES = (0.75, 2.0)
"""Gaussian sigmas in cells, of the local means of colour beside the cell's own."""

PEAK_WEIGHT = 0.5
SATURATION = 0.1
"""The filter response (of full scale 1) at which an energy reaches half of its weight."""

ENERGY_WEIGHT = 0.3
"""What a saturated energy counts beside a difference of colour of full scale 1."""


def _resolve(settings: EmbedderSettings) -> EmbedderSettings:
    """Squashed to 256 x 256 pixels where nothing else is said; ValueError for an unknown resize policy."""
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
        >>> bank = FilterBank(EmbedderSettings(name="filter_bank"))
        >>> embedding = bank.embed(np.zeros((300, 200, 3), np.uint8))
        >>> embedding.grid_shape, embedding.patch_embeddings.dtype, embedding.input_size
        ((32, 32), dtype('float32'), (256, 256))
    """

    def __init__(self, settings: EmbedderSettings) -> None:
        self.settings = SPEC.resolved(settings)

    def recipe(self) -> dict[str, Any]:
        """Name, version, sizes and resize policy."""
        return _recipe(self.settings)

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """Patch embeddings of one ``(H, W, 3)`` uint8 or uint16 image, on a grid over all of it.

        Raises:
            ValueError: the image has another shape or dtype.
        """
        check_image(image)
        height, width = image.shape[:2]
        plan = plan_input((height, width), self.settings)
        rows, columns = (max(1, round(side / CELL)) for side in plan.input_size)
        colors = _opponent_colors(_resized_to_unit(image, plan.resized_size))
        features = [feature for color in colors for feature in _features(color, (rows, columns))]
        patches = np.stack(features, axis=-1).reshape(rows * columns, -1)
        return PatchEmbedding(patches, (rows, columns), (height, width), plan.region, plan.input_size)

    def embed_batch(self, images: Sequence[RgbImage]) -> list[PatchEmbedding]:
        """One result per image, in order; each exactly as ``embed`` gives it."""
        return [self.embed(image) for image in images]


def create(settings: EmbedderSettings, weights: Path | None, device: str) -> FilterBank:
    """The embedder; it has no weights and runs on the CPU."""
    return FilterBank(settings)


def _recipe(settings: EmbedderSettings) -> dict[str, Any]:
    return {
        "embedder": "filter_bank",
        "version": VERSION,
        "precision": "float32",  # float16 changed scores by up to 4e-3, and 48 dimensions are little to keep
        "image_size": settings.image_size,
        "resize": settings.resize,
    }


SPEC = EmbedderSpec(
    implementation="uad_orchestrator.embedders.filter_bank:create",
    version=VERSION,
    reads=("image_size", "resize"),
    resolve=_resolve,
    recipe=_recipe,
)


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


def _features(channel: np.ndarray, grid_shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """The features of one colour channel, each ``(gh, gw)`` float32."""
    mean = _cell_mean(channel, grid_shape)
    yield mean
    for sigma in COLOR_SCALES:
        yield _blur(mean, sigma)
    for sigma in DERIVATIVE_SCALES:
        smooth = _blur(channel, sigma)
        edge, ridge, valley = _edges_and_bars(smooth, sigma)
        yield _saturated(_cell_mean(edge, grid_shape))
        yield _saturated(_cell_peak(edge, grid_shape) * np.float32(PEAK_WEIGHT))
        yield _saturated(_cell_mean(ridge, grid_shape))
        yield _saturated(_cell_mean(valley, grid_shape))
    yield _saturated(np.sqrt(_cell_mean(np.square(channel - smooth), grid_shape)))


def _edges_and_bars(smooth: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale-normalised gradient magnitude, larger and smaller eigenvalue of the Hessian."""
    dx, dy = _derivative(smooth, 1), _derivative(smooth, 0)
    dxx, dyy, dxy = _derivative(dx, 1), _derivative(dy, 0), _derivative(dx, 0)
    half_trace, spread = (dxx + dyy) / 2, _length((dxx - dyy) / 2, dxy)
    scale = np.float32(sigma**2)
    return _length(dx, dy) * np.float32(sigma), (half_trace + spread) * scale, (half_trace - spread) * scale


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """In numpy: the last bit of ``cv2.magnitude`` depends on where the arrays lie in memory."""
    return np.sqrt(x * x + y * y)


def _saturated(response: np.ndarray) -> np.ndarray:
    return response * np.float32(ENERGY_WEIGHT) / (np.abs(response) + np.float32(SATURATION))


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _derivative(image: np.ndarray, axis: int) -> np.ndarray:
    """Central difference, replicated at the border."""
    import cv2

    difference, one = np.array([-0.5, 0, 0.5], np.float32), np.ones(1, np.float32)
    along_x, along_y = (difference, one) if axis == 1 else (one, difference)
    return cv2.sepFilter2D(image, cv2.CV_32F, along_x, along_y, borderType=cv2.BORDER_REPLICATE)


def _cell_mean(response: np.ndarray, grid_shape: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(response, grid_shape[::-1], interpolation=cv2.INTER_AREA)


def _cell_peak(response: np.ndarray, grid_shape: tuple[int, int]) -> np.ndarray:
    """Fourth root of the mean fourth power: follows a cell's strongest pixels, thin scratches too."""
    squared = response * response
    return np.sqrt(np.sqrt(_cell_mean(squared * squared, grid_shape)))
