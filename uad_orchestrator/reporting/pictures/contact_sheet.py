"""The contact sheet of a cell: image, ground truth and heatmap of its best and worst cases, in 50 kB."""

from __future__ import annotations

import base64
import io
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.reporting.cases import ChosenCase, choose_cases
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, displayable, overlay
from uad_orchestrator.reporting.pictures.sheet_drawing import Thumbnail, draw_sheet, fitted_size, resized

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Case", "ChosenCase", "choose_cases", "contact_sheet", "data_uri"]

# Each from good to poor; the last qualities only when the narrowest sheet is still too large.
TILE_WIDTHS = (208, 184, 160, 144, 128, 112, 96, 80, 64, 48, 32)
MOST_OUTLINES = 200
QUALITIES = (80, 65, 52)
LAST_QUALITIES = (40, 30, 20)


@dataclass(frozen=True)
class Case:
    """A chosen case with its pictures, at the image's own size.

    Attributes:
        chosen: which image it is and why it is shown.
        image: ``(H, W, 3)`` RGB, uint8 or uint16.
        anomaly_map: ``(H, W)`` raw map values; None where the model gives none.
        mask: ``(H, W)`` bool ground truth; None where there is none (normals, image labels only).

    Raises:
        ValueError: the map or the mask is of another size than the image.
    """

    chosen: ChosenCase
    image: np.ndarray
    anomaly_map: np.ndarray | None
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        for what, pixels in (("anomaly map", self.anomaly_map), ("mask", self.mask)):
            if pixels is not None and pixels.shape != size:
                raise ValueError(
                    f"{self.chosen.image}: the {what} is {pixels.shape}, the image {size}: they must agree"
                )


def contact_sheet(
    cases: Iterable[Case],
    *,
    threshold: float,
    scale: HeatmapScale | None,
    title: str = "",
    max_bytes: int = 50_000,
) -> bytes:
    """A JPEG with a row per case: image | ground-truth outline | heatmap, and score against threshold.

    Cases are taken one at a time and shrunk at once, so a generator never holds two full-size pictures. The
    largest tiles, then the best quality, that fit into ``max_bytes`` are used. The same cases give the same
    bytes.

    Args:
        cases: the cases, those of a kind together (as ``choose_cases`` orders them).
        threshold: the cell's image threshold; NaN where it has none.
        scale: the cell's heatmap colours; None for a model without maps: the column stays empty.
        title: the first line, e.g. ``mvtec_ad/bottle · patchcore``.
        max_bytes: upper bound of the result's size.

    Returns:
        JPEG bytes, at most ``max_bytes`` long.

    Raises:
        ValueError: no case is given, or they do not fit however small they are drawn.
    """
    thumbnails = [_thumbnail(case, scale) for case in cases]
    if not thumbnails:
        raise ValueError("a contact sheet needs at least one case: the score table has no test image")
    drawn = cache(partial(draw_sheet, thumbnails, threshold=threshold, scale=scale, title=title))
    encoded = cache(lambda width, quality: _jpeg(drawn(width), quality))

    def fits(width: int) -> bool:
        return len(encoded(width, QUALITIES[-1])) <= max_bytes

    # A narrower sheet takes fewer bytes, so the widest that fits is found by halving; mostly it is the first.
    widest = 0 if fits(TILE_WIDTHS[0]) else bisect_left(TILE_WIDTHS, True, key=fits)
    width = TILE_WIDTHS[min(widest, len(TILE_WIDTHS) - 1)]
    for quality in (*QUALITIES, *LAST_QUALITIES):
        if len(sheet := encoded(width, quality)) <= max_bytes:
            return sheet
    raise ValueError(f"{len(thumbnails)} cases do not fit into {max_bytes} bytes: show fewer cases")


def _jpeg(sheet: Image, quality: int) -> bytes:
    encoded = io.BytesIO()
    sheet.save(encoded, "JPEG", quality=quality, optimize=True, progressive=True)
    return encoded.getvalue()


def data_uri(jpeg: bytes) -> str:
    """The sheet as a ``data:`` address, for HTML and Markdown that may not load files.

    >>> data_uri(bytes([255, 216, 255]))
    'data:image/jpeg;base64,/9j/'
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _thumbnail(case: Case, scale: HeatmapScale | None) -> Thumbnail:
    """The case at the size of the largest tile."""
    size = case.image.shape[:2]
    small = fitted_size(size, TILE_WIDTHS[0])
    image = resized(displayable(case.image), small)
    truth = [] if case.mask is None else outlines(case.mask, small)
    if case.anomaly_map is None or scale is None:
        return Thumbnail(case.chosen, image, None, truth, [])
    heat = overlay(image, resized(np.asarray(case.anomaly_map, np.float32), small), scale)
    flagged = outlines(case.anomaly_map > scale.limit, small)
    return Thumbnail(case.chosen, image, heat, truth, flagged)


def outlines(region: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """The borders of a bool region at ``(h, w)``, each ``(n, 2)`` x, y; the longest of very many."""
    import cv2

    small = _shrunk_region(region, size).astype(np.uint8)
    borders, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    longest = sorted(borders, key=lambda border: -cv2.arcLength(border, True))[:MOST_OUTLINES]
    return [border.reshape(-1, 2) for border in longest]


def _shrunk_region(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A bool region at ``(h, w)``: a pixel is in it if any it stands for is, so none is lost."""
    import cv2

    if size[0] >= region.shape[0] and size[1] >= region.shape[1]:
        return cv2.resize(region.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
    rows, columns = np.nonzero(region)
    shrunk = np.zeros(size, bool)
    shrunk[rows * size[0] // region.shape[0], columns * size[1] // region.shape[1]] = True
    return shrunk
