"""How a contact sheet is laid out and drawn, for one tile width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.reporting.cases import HEADINGS, ChosenCase, verdict
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale, overlay

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

GAP, MARGIN, SMALL = 4, 10, 4
INK, SOFT, PAPER = (24, 28, 36), (96, 104, 116), (255, 255, 255)
GOOD, BAD = (0, 104, 66), (186, 26, 26)
TRUTH, FLAGGED = (0, 255, 128), (255, 255, 255)
VERDICT_INK = {"found": GOOD, "passed": GOOD, "missed": BAD, "false alarm": BAD}


@dataclass(frozen=True)
class Thumbnail:
    """A case cut down to the largest tile that may be drawn.

    Attributes:
        chosen: which image it is.
        image: ``(h, w, 3)`` uint8, the image.
        heat: ``(h, w, 3)`` uint8, the image under its anomaly map; None where there is no map.
        truth: borders of the ground truth, each ``(n, 2)`` x, y in pixels of ``image``.
        flagged: borders of where the map is above the scale's limit.
    """

    chosen: ChosenCase
    image: np.ndarray
    heat: np.ndarray | None
    truth: Sequence[np.ndarray]
    flagged: Sequence[np.ndarray]


@dataclass(frozen=True)
class _Type:
    """The letters of a sheet: DejaVu Sans, which matplotlib brings along, the same on every machine."""

    plain: FreeTypeFont
    bold: FreeTypeFont
    line: int

    @classmethod
    def for_tiles(cls, tile: int) -> _Type:
        from PIL import ImageFont

        size = max(9, min(13, tile // 10))
        fonts = _matplotlibs_fonts()
        plain, bold = (
            ImageFont.truetype(str(fonts / name), size) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
        )
        return cls(plain, bold, round(size * 1.5))


def _matplotlibs_fonts() -> Path:
    """The folder; matplotlib itself is not imported, which takes longer than a sheet."""
    found = find_spec("matplotlib")
    assert found is not None and found.origin is not None, (
        "matplotlib is not installed, though we depend on it"
    )
    return Path(found.origin).with_name("mpl-data") / "fonts" / "ttf"


def fitted_size(size: tuple[int, int], width: int) -> tuple[int, int]:
    """``(h, w)`` of an image in a tile ``width`` wide and at most a quarter higher than wide.

    >>> fitted_size((1024, 1024), 128), fitted_size((100, 400), 128), fitted_size((2000, 100), 128)
    ((128, 128), (32, 128), (160, 8))
    """
    height, original_width = size
    factor = min(width / original_width, 1.25 * width / height)
    return max(1, round(height * factor)), max(1, round(original_width * factor))


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels at ``(h, w)``: averaged when they shrink, bilinear when they grow."""
    import cv2

    shrinks = size[0] < pixels.shape[0] or size[1] < pixels.shape[1]
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def draw_sheet(
    thumbnails: Sequence[Thumbnail], tile: int, threshold: float, scale: HeatmapScale | None, title: str
) -> Image:
    """The whole sheet as an RGB picture: head, then per kind a heading and its cases."""
    from PIL import Image, ImageDraw

    type_ = _Type.for_tiles(tile)
    width = 3 * tile + 2 * GAP + 2 * MARGIN
    sheet = Image.new("RGB", (width, _height(thumbnails, tile, type_)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _draw_head(sheet, draw, scale, title, type_)
    for kind, cases in groupby(thumbnails, key=lambda thumbnail: thumbnail.chosen.kind):
        draw.text((MARGIN, top + GAP), HEADINGS[kind], fill=INK, font=type_.bold)
        top += type_.line + GAP
        for thumbnail in cases:
            _draw_caption(draw, thumbnail.chosen, threshold, top, width, type_)
            _draw_tiles(sheet, draw, thumbnail, tile, top + type_.line)
            top += _case_height(thumbnail, tile, type_)
    return sheet


def _height(thumbnails: Sequence[Thumbnail], tile: int, type_: _Type) -> int:
    headings = len(list(groupby(thumbnail.chosen.kind for thumbnail in thumbnails)))
    cases = sum(_case_height(thumbnail, tile, type_) for thumbnail in thumbnails)
    return _head_height(type_) + headings * (type_.line + GAP) + cases + MARGIN


def _head_height(type_: _Type) -> int:
    return MARGIN + 4 * type_.line + GAP


def _case_height(thumbnail: Thumbnail, tile: int, type_: _Type) -> int:
    return type_.line + fitted_size(thumbnail.image.shape[:2], tile)[0] + 2 * GAP


def _draw_head(sheet: Image, draw: ImageDraw, scale: HeatmapScale | None, title: str, type_: _Type) -> int:
    """Title, the colour scale with its limit, and the columns' names; returns where the cases begin."""
    width = sheet.width - 2 * MARGIN
    draw.text((MARGIN, MARGIN), _shortened(title, width, type_.bold), fill=INK, font=type_.bold)
    if scale is not None:
        _draw_scale(sheet, draw, scale, MARGIN + type_.line, type_)
    last = "anomaly map" if scale is not None else "no anomaly map"
    for column, name in enumerate(("image", "ground truth", last)):
        centre = MARGIN + width * (2 * column + 1) // 6
        shown = _shortened(name, width / 3, type_.plain)
        draw.text((centre, MARGIN + 3 * type_.line), shown, SOFT, type_.plain, anchor="ma")
    return _head_height(type_)


def _draw_scale(sheet: Image, draw: ImageDraw, scale: HeatmapScale, top: int, type_: _Type) -> None:
    """The colours from the normal maps' mean on, with the limit in the middle."""
    from PIL import Image

    width = sheet.width - 2 * MARGIN
    limit = f"{scale.limit_name} {scale.limit:.4g}"
    draw.text((MARGIN, top), "normal mean", fill=SOFT, font=type_.plain)
    after = type_.plain.getlength("normal mean") + 3 * GAP  # on small sheets there is no place in the middle
    left = max((width - type_.plain.getlength(limit)) // 2, after)
    draw.text((MARGIN + left, top), limit, fill=SOFT, font=type_.plain)
    top += type_.line
    values = np.linspace(scale.floor, 2 * scale.limit - scale.floor, width, dtype=np.float32)
    ramp = np.repeat(values[None], type_.line // 2, axis=0)
    grey = np.full((*ramp.shape, 3), 208, np.uint8)
    sheet.paste(Image.fromarray(overlay(grey, ramp, scale)), (MARGIN, top))
    draw.line([(MARGIN + width // 2, top), (MARGIN + width // 2, top + type_.line // 2)], fill=INK)


def _draw_caption(
    draw: ImageDraw, chosen: ChosenCase, threshold: float, top: int, width: int, type_: _Type
) -> None:
    """Defect type and file name on the left; score against threshold and the verdict on the right."""
    outcome = verdict(chosen.label, chosen.score, threshold)
    sign = ">" if chosen.score > threshold else "≤"
    compared = "" if outcome == "no threshold" else f" {sign} {threshold:.4g}"
    ink = VERDICT_INK.get(outcome, SOFT)
    right = f"{chosen.score:.4g}{compared}  {outcome}"
    draw.text((width - MARGIN, top), right, fill=ink, font=type_.plain, anchor="ra")
    space = width - 2 * MARGIN - draw.textlength(right, font=type_.plain) - 3 * GAP
    left = f"{chosen.defect_type} · {PurePosixPath(chosen.image).name}"
    draw.text((MARGIN, top), _shortened(left, space, type_.plain), fill=INK, font=type_.plain)


def _draw_tiles(sheet: Image, draw: ImageDraw, thumbnail: Thumbnail, tile: int, top: int) -> None:
    """The image, the image with the ground truth's outline, and the heatmap with what is above the limit."""
    from PIL import Image

    height, width = fitted_size(thumbnail.image.shape[:2], tile)
    columns: list[tuple[np.ndarray, Sequence[np.ndarray], tuple[int, int, int]]] = [
        (thumbnail.image, (), TRUTH),
        (thumbnail.image, thumbnail.truth, TRUTH),
    ]
    if thumbnail.heat is not None:
        columns.append((thumbnail.heat, thumbnail.flagged, FLAGGED))
    for column, (pixels, borders, ink) in enumerate(columns):
        left = MARGIN + column * (tile + GAP) + (tile - width) // 2
        sheet.paste(Image.fromarray(resized(pixels, (height, width))), (left, top))
        for border in borders:
            points = (border + 0.5) * (width / thumbnail.image.shape[1]) + (left, top)
            if len(borders) < SMALL and np.ptp(points, axis=0).max() < SMALL:  # a ring around what is tiny
                x, y = points.mean(axis=0)
                draw.ellipse([x - SMALL, y - SMALL, x + SMALL, y + SMALL], outline=ink)
            else:
                draw.line([tuple(point) for point in (*points, points[0])], fill=ink)


def _shortened(text: str, width: float, font: FreeTypeFont) -> str:
    """Text that fits into ``width`` pixels, its middle left out where it is too long."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        head = text[: kept - kept // 2]
        shorter = f"{head}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return ""
