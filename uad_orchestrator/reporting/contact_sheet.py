"""The contact sheet of a cell: image, ground truth and heatmap of its best and worst cases, in 50 kB."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from uad_orchestrator.reporting.cases import ChosenCase, choose_cases
from uad_orchestrator.reporting.heatmap import HeatmapScale, displayable, overlay
from uad_orchestrator.reporting.sheet_drawing import Thumbnail, draw_sheet, fitted_size, resized

__all__ = ["Case", "ChosenCase", "choose_cases", "contact_sheet", "data_uri"]

TILE_WIDTHS = (208, 184, 160, 144, 128, 112, 96, 80, 64, 48, 32)
QUALITIES = (80, 65, 52)
LAST_QUALITIES = (40, 30, 20)


@dataclass(frozen=True)
class Case:
    """A chosen case with its pictures, at the image's own size.

    Attributes:
        chosen: which image it is and why it is shown.
        image: ``(H, W, 3)`` RGB, uint8 or uint16.
        anomaly_map: ``(H, W)`` raw map values.
        mask: ``(H, W)`` bool ground truth; None where there is none (normals, image labels only).

    Raises:
        ValueError: the map or the mask is of another size than the image.
    """

    chosen: ChosenCase
    image: np.ndarray
    anomaly_map: np.ndarray
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
    scale: HeatmapScale,
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
        scale: the cell's heatmap colours.
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
    for width, quality in _attempts():
        sheet = io.BytesIO()
        drawn = draw_sheet(thumbnails, width, threshold, scale, title)
        drawn.save(sheet, "JPEG", quality=quality, optimize=True, progressive=True)
        if sheet.tell() <= max_bytes:
            return sheet.getvalue()
    raise ValueError(f"{len(thumbnails)} cases do not fit into {max_bytes} bytes: show fewer cases")


def data_uri(jpeg: bytes) -> str:
    """The sheet as a ``data:`` address, for HTML and Markdown that may not load files.

    >>> data_uri(bytes([255, 216, 255]))
    'data:image/jpeg;base64,/9j/'
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _attempts() -> Iterator[tuple[int, int]]:
    """(tile width, JPEG quality), best first; poor quality only for the smallest tiles."""
    yield from ((width, quality) for width in TILE_WIDTHS for quality in QUALITIES)
    yield from ((TILE_WIDTHS[-1], quality) for quality in LAST_QUALITIES)


def _thumbnail(case: Case, scale: HeatmapScale) -> Thumbnail:
    """The case at the size of the largest tile; its outlines are taken at full size, so none is lost."""
    size = case.image.shape[:2]
    small = fitted_size(size, TILE_WIDTHS[0])
    image = resized(displayable(case.image), small)
    heat = overlay(image, resized(np.asarray(case.anomaly_map, np.float32), small), scale)
    truth = [] if case.mask is None else _outlines(case.mask)
    flagged = _outlines(case.anomaly_map > scale.limit)
    return Thumbnail(case.chosen, size, image, heat, truth, flagged)


def _outlines(region: np.ndarray) -> list[np.ndarray]:
    """The borders of a bool region, each ``(n, 2)`` x, y in pixels."""
    import cv2

    borders, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return [border.reshape(-1, 2) for border in borders]
