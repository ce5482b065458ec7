"""How an image becomes the model's input: sizes and the region inspected. Arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.decode import RgbImage

LARGEST_INPUT = 10_000_000
"""Pixels that ``shorter_edge`` makes of a long image at most, unless four square ones have more: a network's memory
and an attention's time grow with them."""


@dataclass(frozen=True)
class InputPlan:
    """From original image to model input: resize all of it, then keep the top-left ``input_size``.

    Attributes:
        resized_size: ``(h, w)`` the whole image is resized to.
        input_size: ``(h, w)`` kept of it; smaller only where a multiple of the patch size is needed.
        region: the part of the original image that is kept, in its pixels.
    """

    resized_size: tuple[int, int]
    input_size: tuple[int, int]
    region: Region


def plan_input(original_size: tuple[int, int], settings: EmbedderSettings, multiple: int = 1) -> InputPlan:
    """Sizes for one image under resolved settings.

    ``squash`` resizes to ``image_size`` whatever the aspect; ``shorter_edge`` keeps the aspect (the longer
    edge is rounded down, as torchvision does). Nothing is cropped but, at the right and bottom, what exceeds
    a multiple of ``multiple``.

    Args:
        original_size: ``(H, W)`` of the image, in pixels.
        settings: resolved; ``image_size`` and ``resize`` are read.
        multiple: of which both sides of the input have to be multiples, e.g. the patch size.

    Returns:
        To what the image is resized, what is kept of it, and which part of the image that is.

    Raises:
        ValueError: ``shorter_edge`` would make more than ``LARGEST_INPUT`` pixels of a long image.

    Example:
        >>> settings = EmbedderSettings(name="x", image_size=448, resize="shorter_edge")
        >>> plan_input((300, 500), settings, multiple=14)
        InputPlan(resized_size=(448, 746), input_size=(448, 742),
            region=Region(top=0.0, left=0.0, bottom=300.0, right=497.31...))
    """
    height, width = original_size
    resized = _resized_size(original_size, settings)
    kept = tuple(side - side % multiple for side in resized)
    region = Region(0.0, 0.0, height * kept[0] / resized[0], width * kept[1] / resized[1])
    return InputPlan(resized, (kept[0], kept[1]), region)


def check_sizes(settings: EmbedderSettings, multiple: int = 1) -> None:
    """Refuse sizes that no image could take.

    Raises:
        ValueError: an unknown resize policy, two sides for ``shorter_edge``, or sides that are no multiple of
            the patch size.
    """
    size = settings.image_size
    if settings.resize not in ("squash", "shorter_edge"):
        raise ValueError(f"embedder.resize: {settings.resize!r} is unknown; valid are squash, shorter_edge")
    if settings.resize == "shorter_edge" and not isinstance(size, int):
        raise ValueError(
            f"embedder.image_size: {size} has two sides, but resize: shorter_edge takes one number"
        )
    sides = (size,) if isinstance(size, int) else tuple(size or ())
    for side in sides:
        if side < multiple or (settings.resize == "squash" and side % multiple):
            nearest = max(multiple, round(side / multiple) * multiple)
            raise ValueError(
                f"embedder.image_size: {side} does not fit {settings.name}'s patches of {multiple} px; "
                f"take a multiple of {multiple} such as {nearest}"
            )


def check_image(image: RgbImage) -> None:
    """Refuse what is no image.

    Args:
        image: should be ``(H, W, 3)`` RGB, uint8 or uint16, with at least one pixel.

    Raises:
        ValueError: it is not.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16) or not image.size:
        raise ValueError(f"expected RGB (H, W, 3) of uint8 or uint16, got {image.shape} of {image.dtype}")


def _resized_size(original_size: tuple[int, int], settings: EmbedderSettings) -> tuple[int, int]:
    size = settings.image_size
    if size is None:
        raise ValueError("embedder.image_size is not resolved: call resolve_settings first")
    if settings.resize == "squash":
        return (size, size) if isinstance(size, int) else size
    if not isinstance(size, int):
        raise ValueError("resize: shorter_edge takes one image_size")
    height, width = original_size
    long = int(size * max(height, width) / min(height, width))
    if size * long > max(LARGEST_INPUT, 4 * size * size):
        raise ValueError(
            f"an image of {height} x {width} px gives an input of {size} x {long}, more than {LARGEST_INPUT} pixels: "
            "cut it into several images, or take tiling, resize: squash or a smaller image_size"
        )
    return (size, long) if height <= width else (long, size)
