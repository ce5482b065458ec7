"""Curves and score histograms as small inline SVG that follows the page's light or dark colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from uad_orchestrator.metrics.curves import Curve, thinned
from uad_orchestrator.reporting.cases import ScoredImage
from uad_orchestrator.reporting.pictures.svg import (
    DASHED,
    DOTTED,
    GRID,
    INK,
    NEUTRAL,
    PRIMARY,
    SECONDARY,
    SOFT,
    TOP,
    Chart,
    Scale,
    ticks_between,
)

FAR = 4  # times the range of normals and threshold is near; the axis may be broken behind it
FAR_SHARE = 1 / 3  # of the axis, for scores beyond the break
SMALLEST_PART = 1e-9  # of the largest score: a narrower part of the axis is lost in the rounding of its scale
POINTS = 150  # of a curve: more cannot be seen at this size


def roc_figure(
    curves: Mapping[str, Curve], operating_point: tuple[float, float] | None = None, *, name: str = "roc"
) -> str:
    """ROC curves as SVG.

    Args:
        curves: ``image`` and/or ``pixel``; x false-positive rate, y true-positive rate.
        operating_point: (false-positive rate, recall) of the images at the calibrated threshold.
        name: unique on the page the figure stands on; keeps the ids of its parts apart.
    """
    chart = Chart(name, _share("false-positive rate"), _share("recall (true-positive rate)"))
    chart.line([0, 1], [0, 1], GRID, dash=DASHED, width=1)
    for label, curve in curves.items():
        shown = thinned(curve, POINTS)
        chart.line(shown.x, shown.y, _series(label), dash=_dash(label), label=label)
    _mark(chart, operating_point)
    return chart.svg(_alt_text("ROC curve", "FPR {:.3f}, recall {:.3f}", operating_point))


def pr_figure(
    curves: Mapping[str, Curve], operating_point: tuple[float, float] | None = None, *, name: str = "pr"
) -> str:
    """Precision-recall curves as SVG, in the steps that average precision sums.

    Args:
        curves: ``image`` and/or ``pixel``; x recall, y precision.
        operating_point: (recall, precision) of the images at the calibrated threshold.
        name: as for ``roc_figure``.
    """
    chart = Chart(name, _share("recall"), _share("precision"))
    for label, curve in curves.items():
        shown = thinned(curve, POINTS)
        x, y = np.repeat(shown.x, 2)[:-1], np.repeat(shown.y, 2)[1:]  # each step is as high as its end
        chart.line(x, y, _series(label), dash=_dash(label), label=label)
    _mark(chart, operating_point)
    return chart.svg(_alt_text("Precision-recall curve", "recall {:.3f}, precision {:.3f}", operating_point))


def pro_figure(
    curve: Curve, aupro: Mapping[float, float | None], *, saturated: bool = False, name: str = "pro"
) -> str:
    """The PRO (sPRO) curve up to the widest limit as SVG, with the areas that AUPRO takes.

    Args:
        curve: x pooled false-positive rate, y mean overlap of regions, or of saturated channels.
        aupro: per limit its value; the limits are the dashed lines.
        saturated: the curve is that of sPRO.
        name: as for ``roc_figure``.
    """
    widest = max(aupro, default=1.0)
    measure, overlap = (
        ("sPRO", "mean saturated overlap (sPRO)") if saturated else ("AUPRO", "mean region overlap (PRO)")
    )
    across = Scale("pixel false-positive rate", 0, 1.02 * widest, ticks_between(0, widest))
    chart = Chart(name, across, _share(overlap), top=TOP)
    inside = thinned(Curve(*(values[curve.x <= widest] for values in curve)), POINTS)
    x = np.append(inside.x, widest)
    y = np.append(inside.y, np.interp(widest, curve.x, curve.y))
    chart.area(x.tolist(), y.tolist(), SECONDARY)
    chart.line(x, y, SECONDARY)
    for limit in aupro:
        chart.vertical(limit, SOFT, dash=DASHED)
    areas = [f"{measure}@{limit:g} {value:.3f}" for limit, value in aupro.items() if value is not None]
    for row, area in enumerate(reversed(areas)):
        chart.text(0.95, 0.05 + 0.075 * row, area, anchor="end")
    return chart.svg(f"{'sPRO' if saturated else 'PRO'} curve. " + ", ".join(areas))


def score_histogram(rows: Iterable[ScoredImage], threshold: float, *, name: str = "scores") -> str:
    """Where the image scores lie, and where the threshold cuts them, as SVG.

    Where a few defects score far higher than all else, the axis is broken: their part of it has a scale of its own.

    Args:
        rows: the score table: test normals, defects, and the normals that set the threshold.
        threshold: the image threshold; NaN draws none.
        name: as for ``roc_figure``.

    Raises:
        ValueError: no row.
    """
    rows = list(rows)
    if not rows:
        raise ValueError("a histogram needs at least one score: the score table is empty")
    groups = {
        "defects": [row.score for row in rows if row.role == "test" and row.label],
        "test normals": [row.score for row in rows if row.role == "test" and not row.label],
        "calibration normals": [row.score for row in rows if row.role == "calibration"],
    }
    scores = [score for scores in groups.values() for score in scores]
    normals = groups["test normals"] + groups["calibration normals"]
    limit = _break(scores, normals, threshold)
    edges = _edges([score for score in scores if limit is None or score <= limit], threshold)
    if limit is None:
        low, high = float(edges[0]), float(edges[-1])
        room = 0.02 * (high - low) or 1.0
        across = Scale("image score", low - room, high + room, ticks_between(low, high))
    else:
        across, edges = _broken_axis(np.append(edges, max(limit, edges[-1])), max(scores))
    counts = {label: np.histogram(found, edges)[0] for label, found in groups.items()}
    most = max(int(found.max()) for found in counts.values())
    chart = Chart(name, across, Scale("images", 0, 1.05 * most, ticks_between(0, 1.05 * most, 6, whole=True)))
    for label, colour in (("test normals", PRIMARY), ("defects", SECONDARY)):
        chart.bars(edges, counts[label], colour, label=f"{label} ({len(groups[label])})")
    calibration = groups["calibration normals"]
    if calibration:
        label = f"calibration normals ({len(calibration)})"
        chart.steps(edges, counts["calibration normals"], NEUTRAL, label=label)
    if not math.isnan(threshold):
        chart.vertical(threshold, INK, label=f"threshold {threshold:.4g}")
    if limit is not None:
        _mark_break(chart, limit)
    broken = "" if limit is None else f" The axis is broken at {limit:.4g}."
    return chart.svg(_scores_alt_text(groups, threshold) + broken)


def _break(scores: Sequence[float], normals: Sequence[float], threshold: float) -> float | None:
    """Where the axis is broken: above what lies near normals and threshold; None where all can be told apart anyhow."""
    lowest, highest = min(scores), max(scores)
    bulk = float(np.quantile(normals, 0.95)) if normals else float(np.median(scores))
    span = max([bulk] if math.isnan(threshold) else [bulk, threshold]) - lowest
    near = max(score for score in scores if score <= lowest + max(span, 0) * FAR)
    limit = max(near, lowest + span) + 0.1 * span
    can_be_drawn = limit - lowest > SMALLEST_PART * max(abs(lowest), abs(highest))
    return limit if can_be_drawn and limit - lowest < (highest - lowest) / 2 else None


def _broken_axis(edges: np.ndarray, highest: float) -> tuple[Scale, np.ndarray]:
    """The axis whose part above the last edge has a third of it, with a scale of its own; the edges of both parts."""
    low, limit = float(edges[0]), float(edges[-1])
    at, shown = [low, limit, highest], [0.0, 1 - FAR_SHARE, 0.98]
    near, far = ticks_between(low, limit, 4), ticks_between(limit, highest, 2)
    clear_of_break = limit - 0.1 * (limit - low), limit + 0.25 * (highest - limit)
    ticks = [t for t in (*near, *far) if low <= t < clear_of_break[0] or clear_of_break[1] < t <= highest]
    across = Scale("image score", low, highest, ticks, lambda x: _piecewise(x, at, shown))
    return across, np.append(edges, np.linspace(limit, highest, 9)[1:])


def _mark_break(chart: Chart, limit: float) -> None:
    """Two strokes at both ends of the line where the scale changes."""
    chart.vertical(limit, SOFT, dash=DOTTED)
    for down in (0.0, 1.0):
        chart.text(float(chart.x([limit])[0]), down, "//", SOFT, anchor="middle")


def _piecewise(values: np.ndarray, start: Sequence[float], end: Sequence[float]) -> np.ndarray:
    """Three points to three others, straight lines between and beyond them."""
    values = np.asarray(values, float)
    first, second = ((end[i + 1] - end[i]) / (start[i + 1] - start[i]) for i in (0, 1))
    return np.where(
        values < start[1], end[1] + first * (values - start[1]), end[1] + second * (values - start[1])
    )


def _edges(scores: Sequence[float], threshold: float) -> np.ndarray:
    """Bin edges over all groups; one of them is the threshold, so that no bar stands on both of its sides."""
    lowest, highest = min(scores), max(scores)
    span = (highest - lowest) or max(abs(lowest), 1.0) * 1e-3
    width = span / min(40, max(10, round(2 * math.sqrt(len(scores)))))
    anchor = lowest if math.isnan(threshold) else threshold
    # no bar is narrower than what floats can tell apart there: far from the scores the threshold's own spacing
    width = max(width, 4 * float(np.spacing(max(abs(lowest), abs(highest), abs(anchor)))))
    first = math.ceil((lowest - anchor) / width) - 1
    last = math.ceil((highest - anchor) / width)
    edges = anchor + np.arange(first, max(last, first + 1) + 1) * width
    edges = np.nextafter(edges, np.inf)  # a score that equals the threshold is normal: left of it
    edges[0], edges[-1] = min(edges[0], lowest), max(edges[-1], highest)
    return edges


def _share(label: str) -> Scale:
    """An axis from 0 to 1."""
    return Scale(label, -0.02, 1.03, ticks_between(0, 1))


def _series(label: str) -> str:
    return PRIMARY if label == "image" else SECONDARY


def _dash(label: str) -> str | None:
    """So that the series differ without colour, too."""
    return None if label == "image" else DASHED


def _mark(chart: Chart, point: tuple[float, float] | None) -> None:
    if point is not None:
        chart.dot(*point, label="at threshold")


def _alt_text(what: str, form: str, point: tuple[float, float] | None) -> str:
    return what if point is None else f"{what}. At the threshold: {form.format(*point)}"


def _scores_alt_text(groups: Mapping[str, Sequence[float]], threshold: float) -> str:
    counts = ", ".join(f"{len(scores)} {label}" for label, scores in groups.items() if scores)
    if math.isnan(threshold):
        return f"Histogram of image scores: {counts}. No threshold."
    above = ", ".join(f"{sum(s > threshold for s in groups[g])} {g}" for g in ("defects", "test normals"))
    return f"Histogram of image scores: {counts}. Above the threshold {threshold:.4g}: {above}."
