"""Draws the pictures of "How far to trust a number": what intervals cover, how wide they are, what a rank promises.

    python -m docs.scripts.interval_pictures

from the repository's root writes ``docs/pictures/coverage.svg``, which is simulated and takes some minutes,
``docs/pictures/widths.svg`` and ``docs/pictures/ranks.svg``; a test says when the last two are to be drawn again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from benchmarks.intervals import AUROC_CASES, categories, of_aurocs, of_means
from uad_orchestrator.metrics.intervals import interval_of_auroc, rate_interval

PICTURES = Path(__file__).parents[1] / "pictures"
INK, GRID = "#1c2430", "#d9dee6"
COLOURS = ("#0072b2", "#d55e00", "#2b8a57", "#a97b17")
DRAWS, BOOTSTRAP_DRAWS, DRAWS_OF_MEANS = 3000, 400, 400
IMAGES = (5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500)


class Axis(NamedTuple):
    """One axis of a picture.

    Attributes:
        start, end: its pixels.
        low, high: its values there.
        ticks: the values that are written.
        logarithmic: whether equal factors are equally far apart.
    """

    start: float
    end: float
    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def coverage_svg() -> str:
    """How often intervals cover: those of the board, and the percentile bootstrap's."""
    rows = [*_auroc_rows(), *_mean_rows()]
    top, step = 74, 26
    x = Axis(330, 860, 0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 0.95))
    bottom = top + step * len(rows)
    lines = [
        *_vertical_grid(x, top - 14, bottom - 8),
        _line(x.at(0.95), top - 14, x.at(0.95), bottom - 8, INK),
    ]
    for place, (label, ours, bootstrap) in enumerate(rows):
        y = top + step * place
        lines.append(_text(x.start - 20, y + 4, label, "end"))
        lines.append(_circle(x.at(bootstrap), y, COLOURS[1]))
        lines.append(_circle(x.at(ours), y, COLOURS[0]))
    lines += _legend(330, 24, ["the board's intervals", "percentile bootstrap"])
    lines.append(
        _text(x.end, bottom + 36, "share of intervals that hold the true AUROC; .95 is nominal", "end")
    )
    return _svg("How often intervals of .95 cover", (900, bottom + 52), lines)


def _auroc_rows() -> Iterator[tuple[str, float, float]]:
    for case in AUROC_CASES[:6]:
        bootstrap = of_aurocs(case, BOOTSTRAP_DRAWS, bootstrap=True)
        yield f"{case.name}", of_aurocs(case, DRAWS).share, bootstrap.share


def _mean_rows() -> Iterator[tuple[str, float, float]]:
    for nearly_perfect, words in ((False, "unlike"), (True, "nearly perfect")):
        for n in (3, 5, 10, 15):
            cases = categories(n, nearly_perfect=nearly_perfect)
            ours, bootstrap = (of_means(cases, DRAWS_OF_MEANS, bootstrap=b).share for b in (False, True))
            yield f"mean over {n} {words} categories", ours, bootstrap


def widths_svg() -> str:
    """How wide intervals are, by how many test images there are."""
    x = Axis(80, 560, 5, 500, (5, 10, 20, 50, 100, 200, 500), logarithmic=True)
    y = Axis(330, 60, 0.0, 0.6, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    series: dict[str, Callable[[int], float]] = {
        "image AUROC .90": lambda n: _width(interval_of_auroc(0.9, n, n)),
        "image AUROC .95": lambda n: _width(interval_of_auroc(0.95, n, n)),
        "image AUROC .99": lambda n: _width(interval_of_auroc(0.99, n, n)),
        "recall or FPR, 1 in 10 on the wrong side": lambda n: _width(rate_interval(round(0.1 * n), n)),
    }
    curves = [
        [(n, of(n)) for n in IMAGES if n % 10 == 0 or not label.startswith("recall")]
        for label, of in series.items()
    ]
    lines = _chart(
        x, y, "test images of each class (of the one class, for a rate)", "width of the 95 % interval"
    )
    lines += [_curve(x, y, points, colour) for points, colour in zip(curves, COLOURS, strict=True)]
    lines += _legend(600, 90, list(series), below=True)
    return _svg("How wide intervals are", (900, 390), lines)


def ranks_svg() -> str:
    """What false-positive rate a threshold of n normal images has: its mean, and where it lies nine times of ten."""
    from scipy.special import betaincinv

    x = Axis(80, 560, 10, 1000, (10, 20, 50, 100, 200, 500, 1000), logarithmic=True)
    y = Axis(330, 60, 0.0, 0.25, (0.0, 0.05, 0.1, 0.15, 0.2, 0.25))
    counts = (10, 12, 15, 19, 20, 25, 30, 39, 40, 50, 59, 70, 99, 100, 150, 199, 300, 500, 700, 1000)
    ranks = [min(n, math.ceil((n + 1) * 0.95)) for n in counts]
    # of exchangeable scores the rate above the r-th smallest of n is Beta(n + 1 - r, r)
    low, high = (
        [float(betaincinv(n + 1 - r, r, end)) for n, r in zip(counts, ranks, strict=True)]
        for end in (0.05, 0.95)
    )
    mean = [(n + 1 - r) / (n + 1) for n, r in zip(counts, ranks, strict=True)]
    lines = _chart(x, y, "normal images that the threshold is taken from", "its true false-positive rate")
    lines.append(_band(x, y, counts, low, high))
    lines.append(_curve(x, y, list(zip(counts, mean, strict=True)), COLOURS[0]))
    lines.append(_line(x.start, y.at(0.05), x.end, y.at(0.05), INK))
    lines += _legend(600, 90, ["on average over calibrations"], below=True)
    lines.append(_text(600, 126, "shaded: nine calibrations of ten", "start"))
    lines.append(_text(600, 150, "line: contamination .05, as asked for", "start"))
    return _svg("What a conformal rank promises", (900, 390), lines)


def _width(of: tuple[float, float]) -> float:
    return of[1] - of[0]


def _chart(x: Axis, y: Axis, below: str, left: str) -> list[str]:
    lines = [*_vertical_grid(x, y.end, y.start)]
    for tick in y.ticks:
        lines.append(_line(x.start, y.at(tick), x.end, y.at(tick), GRID))
        lines.append(_text(x.start - 10, y.at(tick) + 4, f"{tick:g}", "end"))
    lines.append(_text((x.start + x.end) / 2, y.start + 44, below))
    lines.append(_text(x.start - 50, y.end - 24, left, "start"))
    return lines


def _vertical_grid(x: Axis, top: float, bottom: float) -> Iterator[str]:
    for tick in x.ticks:
        yield _line(x.at(tick), top, x.at(tick), bottom, GRID)
        yield _text(x.at(tick), bottom + 18, f"{tick:g}")


def _legend(left: float, top: float, labels: Sequence[str], *, below: bool = False) -> Iterator[str]:
    for place, (label, colour) in enumerate(zip(labels, COLOURS, strict=False)):
        x, y = (left, top + 24 * place) if below else (left + 220 * place, top)
        yield _circle(x + 6, y - 4, colour)
        yield _text(x + 20, y, label, "start")


def _curve(x: Axis, y: Axis, points: Sequence[tuple[float, float]], colour: str) -> str:
    steps = " ".join(f"{x.at(a):.1f},{y.at(min(b, y.high)):.1f}" for a, b in points)
    return f"<polyline points='{steps}' fill='none' stroke='{colour}' stroke-width='2.5'/>"


def _band(x: Axis, y: Axis, values: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    there = [f"{x.at(v):.1f},{y.at(min(h, y.high)):.1f}" for v, h in zip(values, high, strict=True)]
    back = [f"{x.at(v):.1f},{y.at(b):.1f}" for v, b in zip(values, low, strict=True)]
    return (
        f"<polygon points='{' '.join([*there, *reversed(back)])}' fill='{COLOURS[0]}' fill-opacity='0.18'/>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"


def _circle(x: float, y: float, colour: str) -> str:
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5.5' fill='{colour}'/>"


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    look = f"font-size='13' text-anchor='{anchor}' font-family='system-ui, sans-serif' fill='{INK}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {look}>{escape(words)}</text>"


def _svg(title: str, size: tuple[float, float], lines: Sequence[str]) -> str:
    width, height = size
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' role='img'>",
            f"<title>{escape(title)}</title>",
            f"<rect width='{width:g}' height='{height:g}' rx='8' fill='#ffffff'/>",
            *lines,
            "</svg>\n",
        ]
    )


DRAWN = {"coverage.svg": coverage_svg, "widths.svg": widths_svg, "ranks.svg": ranks_svg}


if __name__ == "__main__":
    for name, draw in DRAWN.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8")
        print(f"wrote {PICTURES / name}", file=sys.stderr)
