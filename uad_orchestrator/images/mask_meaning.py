"""Which pixels a mask means, whatever channels it was saved in: its colours, its palette's indices or its alpha."""

from __future__ import annotations

import numpy as np


def mask_values(
    pixels: np.ndarray, *, with_alpha: bool = False, indices: np.ndarray | None = None
) -> np.ndarray:
    """A mask as one channel, above 0 where it shows a defect.

    Black is background. What alpha hides is background, too, unless nothing else can be seen: then what it shows is
    the defect (a white picture with the defect in its alpha channel). In a palette without a black pixel the first
    entry is background, as in label images.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)`` as decoded, of any depth; alpha, if any, is the last channel.
        with_alpha: whether it is there.
        indices: ``(H, W)``, of an image with a palette.

    Returns:
        ``(H, W)``, the largest of the colours' values as they stand in the file.

    >>> white = np.full((1, 3), 255, np.uint8)
    >>> mask_values(np.dstack([white, white, white, np.array([[0, 255, 0]], np.uint8)]), with_alpha=True)
    array([[  0, 255,   0]], dtype=uint8)
    """
    values = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
    if indices is not None and values.all():
        values = indices
    if not with_alpha:
        return values
    alpha = pixels[..., -1]
    if alpha.min() == alpha.max():  # it says nothing, unless all of a plain picture is hidden: an empty mask
        return alpha if not alpha.any() and values.min() == values.max() else values
    seen = np.where(alpha > 0, values, np.zeros_like(values))
    return seen if seen.any() else alpha
