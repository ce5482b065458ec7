"""Draws the documentation's diagrams from what the code goes by: the graph's table and the order of imports.

    python docs/scripts/diagrams.py

writes ``docs/pictures/assets.svg`` and ``docs/pictures/packages.svg``; a test says when that is to be done again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from uad_orchestrator.orchestration.versions.graph import NODES, Node

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"

WIDTH, HEIGHT = 196, 52  # of a box; steps leave room for the arrows
COLUMN_STEP, ROW_STEP, MARGIN = 240, 82, 16
FILLS = {"dataset": "#e3eefc", "settings": "#fdf1d8", "benchmark": "#e2f5ea"}
STROKES = {"dataset": "#3b6fb5", "settings": "#a97b17", "benchmark": "#2b8a57"}
FONT = "font-family='system-ui, sans-serif' fill='#1c2430'"
PARTITIONS = {
    "category": "per category", "detector": "per detector", "cell": "per category x detector", "none": "one",
}  # fmt: skip


class Place(NamedTuple):
    """Column and row of a box."""

    column: float
    row: float

    @property
    def left(self) -> float:
        """Pixels from the left."""
        return MARGIN + self.column * COLUMN_STEP

    @property
    def top(self) -> float:
        """Pixels from the top."""
        return MARGIN + self.row * ROW_STEP


PLACES = {
    "preprocessing_preset": Place(0, 0),
    "checkpoint": Place(0, 1),
    "fit_settings": Place(0, 2),
    "dataset_category": Place(0, 4),
    "memory_bank": Place(1, 2),
    "normal_images": Place(1, 3),
    "scoring_settings": Place(2, 1),
    "score_table": Place(2, 2),
    "test_images": Place(2, 4),
    "map_settings": Place(3, 1),
    "anomaly_maps": Place(3, 2),
    "evaluation_protocol": Place(4, 1),
    "metrics_report": Place(4, 2),
    "ground_truth": Place(4, 5),
    "leaderboard": Place(5, 2),
}
"""Where each asset is drawn; what depends on what is said by the graph's table alone."""
LEGEND = Place(1.2, 0)


def assets_svg() -> str:
    """The graph of assets."""
    boxes = [line for name, place in PLACES.items() for line in _asset(NODES[name], place)]
    arrows = [_arrow(PLACES[read], PLACES[name]) for name, node in NODES.items() for read in node.reads]
    legend = [line for number, group in enumerate(FILLS) for line in _legend(number, group)]
    columns, rows = (max(values) + 1 for values in zip(*PLACES.values(), strict=True))
    size = (2 * MARGIN + columns * COLUMN_STEP - (COLUMN_STEP - WIDTH), 2 * MARGIN + rows * ROW_STEP)
    return _svg("The assets and what each of them reads", size, [*arrows, *boxes, *legend])


def packages_svg() -> str:
    """The packages in the order of their imports, as ``.importlinter`` holds it."""
    layers = import_layers()
    width, step = 700, 46
    lines = []
    for row, names in enumerate(layers):
        box = (width - 2 * MARGIN - 8 * (len(names) - 1)) / len(names)
        for column, name in enumerate(names):
            left, top = MARGIN + column * (box + 8), MARGIN + row * step
            knows_dagster = name in ("cli", "component", "definitions", "orchestration")
            group = "benchmark" if knows_dagster else "dataset"
            lines += [_box(left, top, box, 36, group), _text(left + box / 2, top + 23, name, 15)]
    return _svg(
        "The packages; each imports from those below it alone",
        (width, 2 * MARGIN + len(layers) * step),
        lines,
    )


def import_layers() -> list[list[str]]:
    """The packages side by side and above each other, from the top down."""
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    lines = contracts["importlinter:contract:layers"]["layers"].split("\n")
    return [
        [name.strip().removeprefix("uad_orchestrator.") for name in line.split("|")]
        for line in lines
        if line.strip()
    ]


def _asset(node: Node, place: Place) -> Iterator[str]:
    middle = place.left + WIDTH / 2
    yield _box(place.left, place.top, WIDTH, HEIGHT, node.group)
    yield _text(middle, place.top + 23, node.asset, 15, "600")
    yield _text(middle, place.top + 41, PARTITIONS[node.dimension], 12)


def _arrow(source: Place, target: Place) -> str:
    """Straight down or up within a column, else a curve from the right side to the left; below what stands between."""
    if source.column == target.column:
        falls = source.row < target.row
        x = source.left + WIDTH / 2
        start, end = (source.top + HEIGHT, target.top) if falls else (source.top, target.top + HEIGHT)
        return _path(f"M{x},{start} L{x},{end + (-7 if falls else 7)}")
    between = any(
        place.row == source.row == target.row and source.column < place.column < target.column
        for place in PLACES.values()
    )
    if between:
        y = source.top + HEIGHT
        x1, x2 = source.left + WIDTH - 30, target.left + 30
        return _path(f"M{x1},{y} C{x1 + 50},{y + 44} {x2 - 50},{y + 44} {x2},{y + 7}")
    x1, y1 = source.left + WIDTH, source.top + HEIGHT / 2
    x2, y2 = target.left - 7, target.top + HEIGHT / 2
    turn = min(90.0, x2 - x1)
    bends = f"{x1 + 0.6 * turn:g},{y1} {x1 + 0.4 * turn:g},{y2} {x1 + turn:g},{y2}"
    return _path(f"M{x1},{y1} C{bends} L{x2},{y2}")


def _legend(number: int, group: str) -> Iterator[str]:
    words = {
        "dataset": "inputs: what the dataset's folder holds",
        "settings": "inputs: what uad.yaml says of a detector",
        "benchmark": "computed",
    }
    left, top = LEGEND.left, LEGEND.top + 22 * number
    yield _box(left, top, 16, 14, group)
    yield _text(left + 24, top + 12, words[group], 13, anchor="start")


def _box(left: float, top: float, width: float, height: float, group: str) -> str:
    look = f"fill='{FILLS[group]}' stroke='{STROKES[group]}' stroke-width='1.5'"
    return f"<rect x='{left:g}' y='{top:g}' width='{width:g}' height='{height:g}' rx='6' {look}/>"


def _text(x: float, y: float, words: str, size: int, weight: str = "400", anchor: str = "middle") -> str:
    look = f"font-size='{size}' font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text x='{x:g}' y='{y:g}' {look} {FONT}>{escape(words)}</text>"


def _path(steps: str) -> str:
    return f"<path d='{steps}' fill='none' stroke='#77818f' stroke-width='1.5' marker-end='url(#head)'/>"


def _svg(title: str, size: tuple[float, float], lines: list[str]) -> str:
    width, height = size
    head = (
        "<marker id='head' viewBox='0 0 8 8' refX='1' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0,0 L8,4 L0,8 z' fill='#77818f'/></marker>"
    )
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' role='img'>",
            f"<title>{escape(title)}</title>",
            f"<defs>{head}</defs>",
            f"<rect width='{width:g}' height='{height:g}' rx='8' fill='#ffffff'/>",
            *lines,
            "</svg>\n",
        ]
    )


DIAGRAMS = {"assets.svg": assets_svg, "packages.svg": packages_svg}


if __name__ == "__main__":
    for name, draw in DIAGRAMS.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8")
        print(f"wrote {PICTURES / name}", file=sys.stderr)
