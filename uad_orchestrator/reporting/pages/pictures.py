"""The pictures behind the pages: image, ground truth and anomaly map, which the browser lays over each other."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cache

import numpy as np

from uad_orchestrator.reporting.pictures.contact_sheet import outlines
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, colours, opacity
from uad_orchestrator.reporting.pictures.sheet_drawing import resized
from uad_orchestrator.reporting.pictures.thumbnail import at_most

PICTURES_VERSION = 1
"""Raised when the same image or map gives another picture."""

MAP_SIDE = 512
"""Pixels of the longer side of a map's picture, at most: it comes from a patch grid, and is smooth."""

OUTLINE = 255
"""The palette's entry for the line around what is above the limit; the others are positions on the scale."""
TRUTH_STYLE = 'fill="none" vector-effect="non-scaling-stroke" stroke-linejoin="round"'

Box = tuple[float, float, float, float]


def map_png(anomaly_map: np.ndarray, scale: HeatmapScale) -> bytes:
    """A map as a picture to lie over its image: as strong as it is anomalous, what is above the limit in a white line.

    Args:
        anomaly_map: ``(H, W)`` raw map values.
        scale: the cell's colours.

    Returns:
        A PNG of at most ``MAP_SIDE`` pixels a side: a palette with opacities, one byte a pixel.
    """
    import cv2
    from PIL import Image

    values = np.asarray(anomaly_map, np.float32)
    small = resized(values, at_most(values.shape, MAP_SIDE))
    entries = (scale.position(small) * (OUTLINE - 1) + 0.5).astype(np.uint8)
    above = (small > scale.limit).view(np.uint8)
    if above.any():
        borders, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(entries, borders, -1, OUTLINE, 1)
    picture = Image.fromarray(entries, "P")
    palette, opacities = _palette()
    picture.putpalette(palette)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=3, transparency=opacities)
    return encoded.getvalue()


def truth_svg(mask: np.ndarray | None, boxes: Iterable[Box], size: tuple[int, int]) -> str:
    """The outline of the ground truth, to lie over its image: dashed, so that it differs without colour, too.

    Args:
        mask: ``(H, W)`` bool; None where there are boxes only.
        boxes: x, y, width and height in pixels of the image.
        size: ``(H, W)`` of the image.
    """
    height, width = size
    small = at_most(size, 2 * MAP_SIDE)
    borders = [] if mask is None else outlines(mask, small)
    factor = width / small[1]
    paths = [_closed((border + 0.5) * factor) for border in borders]
    paths += [f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}Z" for x, y, w, h in boxes]
    path = "".join(paths)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f'<path d="{path}" {TRUTH_STYLE} stroke="#000" stroke-opacity=".6" stroke-width="4"/>'
        f'<path d="{path}" {TRUTH_STYLE} stroke="#00ff80" stroke-width="2" stroke-dasharray="7 3"/></svg>'
    )


@cache
def _palette() -> tuple[bytes, bytes]:
    """RGB of each entry, and its opacity."""
    positions = np.linspace(0, 1, OUTLINE)
    rgb = np.vstack([colours(positions), [[255, 255, 255]]]).astype(np.uint8)
    alpha = np.append(np.round(opacity(positions) * 255), 255).astype(np.uint8)
    return rgb.tobytes(), alpha.tobytes()


def _closed(border: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.6g} {y:.6g}" for x, y in border) + "Z"
