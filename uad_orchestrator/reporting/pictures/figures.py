"""Curves and score histograms as small inline SVG that follows the page's light or dark colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.metrics.curves import Curve, thinned
from uad_orchestrator.reporting.cases import ScoredImage
from uad_orchestrator.reporting.pictures.svg import GRID, INK, NEUTRAL, PRIMARY, SECONDARY, SOFT, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (3.4, 2.8)  # inches
FRAME = (0.15, 0.17, 0.82, 0.67)  # left, bottom, width, height of the axes; the legend goes above
TALL_FRAME = (0.15, 0.17, 0.82, 0.79)  # without a legend
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
    figure, axes = _axes("false-positive rate", "recall (true-positive rate)")
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1, linestyle=(0, (4, 3)))
    for label, curve in curves.items():
        shown = thinned(curve, POINTS)
        axes.plot(shown.x, shown.y, color=_series(label), linestyle=_dash(label), label=label)
    _mark(axes, operating_point)
    _legend(figure)
    return inline_svg(figure, name, _alt_text("ROC curve", "FPR {:.3f}, recall {:.3f}", operating_point))


def pr_figure(
    curves: Mapping[str, Curve], operating_point: tuple[float, float] | None = None, *, name: str = "pr"
) -> str:
    """Precision-recall curves as SVG, in the steps that average precision sums.

    Args:
        curves: ``image`` and/or ``pixel``; x recall, y precision.
        operating_point: (recall, precision) of the images at the calibrated threshold.
        name: as for ``roc_figure``.
    """
    figure, axes = _axes("recall", "precision")
    for label, curve in curves.items():
        shown, style = thinned(curve, POINTS), _dash(label)
        axes.plot(shown.x, shown.y, color=_series(label), linestyle=style, drawstyle="steps-pre", label=label)
    _mark(axes, operating_point)
    _legend(figure)
    alt_text = _alt_text("Precision-recall curve", "recall {:.3f}, precision {:.3f}", operating_point)
    return inline_svg(figure, name, alt_text)


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
    figure, axes = _axes("pixel false-positive rate", overlap, frame=TALL_FRAME)
    inside = thinned(Curve(*(values[curve.x <= widest] for values in curve)), POINTS)
    x = np.append(inside.x, widest)
    y = np.append(inside.y, np.interp(widest, curve.x, curve.y))
    axes.fill_between(x, y, color=SECONDARY, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=SECONDARY)
    for limit in aupro:
        axes.axvline(limit, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(-0.02 * widest, 1.02 * widest)
    areas = [f"{measure}@{limit:g} {value:.3f}" for limit, value in aupro.items() if value is not None]
    axes.text(0.97, 0.05, "\n".join(areas), transform=axes.transAxes, ha="right", color=INK)
    return inline_svg(figure, name, f"{'sPRO' if saturated else 'PRO'} curve. " + ", ".join(areas))


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
    from matplotlib.ticker import MaxNLocator

    rows = list(rows)
    if not rows:
        raise ValueError("a histogram needs at least one score: the score table is empty")
    groups = {
        "defects": [row.score for row in rows if row.role == "test" and row.label],
        "test normals": [row.score for row in rows if row.role == "test" and not row.label],
        "calibration normals": [row.score for row in rows if row.role == "calibration"],
    }
    figure, axes = _axes("image score", "images", unit_square=False)
    scores = [score for scores in groups.values() for score in scores]
    normals = groups["test normals"] + groups["calibration normals"]
    limit = _break(scores, normals, threshold)
    edges = _edges([score for score in scores if limit is None or score <= limit], threshold)
    if limit is not None:
        edges = _break_axis(axes, np.append(edges, max(limit, edges[-1])), max(scores))
    for label, colour in (("test normals", PRIMARY), ("defects", SECONDARY)):
        axes.hist(
            groups[label], edges.tolist(), color=colour, alpha=0.55, label=f"{label} ({len(groups[label])})"
        )
    calibration = groups["calibration normals"]
    if calibration:
        label = f"calibration normals ({len(calibration)})"
        axes.hist(calibration, edges.tolist(), histtype="step", color=NEUTRAL, linewidth=1.2, label=label)
    if not math.isnan(threshold):
        axes.axvline(threshold, color=INK, linewidth=1.4, label=f"threshold {threshold:.4g}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, columns=2)
    broken = "" if limit is None else f" The axis is broken at {limit:.4g}."
    return inline_svg(figure, name, _scores_alt_text(groups, threshold) + broken)


def _break(scores: Sequence[float], normals: Sequence[float], threshold: float) -> float | None:
    """Where the axis is broken: above what lies near normals and threshold; None where all can be told apart anyhow."""
    lowest, highest = min(scores), max(scores)
    bulk = float(np.quantile(normals, 0.95)) if normals else float(np.median(scores))
    span = max([bulk] if math.isnan(threshold) else [bulk, threshold]) - lowest
    near = max(score for score in scores if score <= lowest + max(span, 0) * FAR)
    limit = max(near, lowest + span) + 0.1 * span
    can_be_drawn = limit - lowest > SMALLEST_PART * max(abs(lowest), abs(highest))
    return limit if can_be_drawn and limit - lowest < (highest - lowest) / 2 else None


def _break_axis(axes: Axes, edges: np.ndarray, highest: float) -> np.ndarray:
    """Give what lies above the last edge a third of the axis, with a scale of its own; the edges of both parts."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    low, limit = float(edges[0]), float(edges[-1])
    at, shown = [low, limit, highest], [0.0, 1 - FAR_SHARE, 1.0]
    axes.set_xscale(
        "function", functions=(lambda x: _piecewise(x, at, shown), lambda y: _piecewise(y, shown, at))
    )
    axes.set_xlim(low, highest + 0.02 * (highest - limit))
    near, far = MaxNLocator(4).tick_values(low, limit), MaxNLocator(2).tick_values(limit, highest)
    clear_of_break = limit - 0.1 * (limit - low), limit + 0.25 * (highest - limit)
    axes.set_xticks(
        [t for t in (*near, *far) if low <= t < clear_of_break[0] or clear_of_break[1] < t <= highest]
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.axvline(limit, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
    axes.text(limit, 1.0, "//", transform=axes.get_xaxis_transform(), ha="center", va="center", color=SOFT)
    axes.text(limit, 0.0, "//", transform=axes.get_xaxis_transform(), ha="center", va="center", color=SOFT)
    return np.append(edges, np.linspace(limit, highest, 9)[1:])


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


def _axes(
    x: str, y: str, *, unit_square: bool = True, frame: tuple[float, float, float, float] = FRAME
) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE)
    figure.patch.set_visible(False)
    axes = figure.add_axes(frame)  # fixed: a layout engine would draw everything twice
    axes.patch.set_visible(False)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9, length=3)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    if unit_square:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.04)
    return figure, axes


def _series(label: str) -> str:
    return PRIMARY if label == "image" else SECONDARY


def _dash(label: str) -> str:
    """So that the series differ without colour, too."""
    return "solid" if label == "image" else "dashed"


def _mark(axes: Axes, point: tuple[float, float] | None) -> None:
    if point is not None:
        axes.plot(*point, "o", color=INK, markersize=6, label="at threshold", clip_on=False, zorder=5)


def _legend(figure: Figure, columns: int = 3) -> None:
    """Above the drawing, where it hides nothing."""
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        frameon=False,
        labelcolor=INK,
        fontsize=9,
        ncols=columns,
        columnspacing=1.0,
        handlelength=1.6,
        borderpad=0,
    )


def _alt_text(what: str, form: str, point: tuple[float, float] | None) -> str:
    return what if point is None else f"{what}. At the threshold: {form.format(*point)}"


def _scores_alt_text(groups: Mapping[str, Sequence[float]], threshold: float) -> str:
    counts = ", ".join(f"{len(scores)} {label}" for label, scores in groups.items() if scores)
    if math.isnan(threshold):
        return f"Histogram of image scores: {counts}. No threshold."
    above = ", ".join(f"{sum(s > threshold for s in groups[g])} {g}" for g in ("defects", "test normals"))
    return f"Histogram of image scores: {counts}. Above the threshold {threshold:.4g}: {above}."
