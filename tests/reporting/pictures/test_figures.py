"""Figures as SVG that may stand side by side in a page."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.reporting.cells import score_rows
from uad_orchestrator.metrics.image_metrics import image_curves
from uad_orchestrator.metrics.pixels.counts import PixelCounts
from uad_orchestrator.reporting.pictures.figures import (
    _break,
    _edges,
    _piecewise,
    pr_figure,
    pro_figure,
    roc_figure,
    score_histogram,
)


@pytest.fixture(scope="module")
def figures() -> list[str]:
    rows = [row for row in score_rows(1, 1.8) if row.role == "test"]
    image = image_curves([row.score for row in rows], [row.label for row in rows])
    rng = np.random.default_rng(0)
    counts = PixelCounts()
    mask = np.zeros((48, 48), bool)
    mask[10:20, 10:30] = True
    counts.update((rng.normal(0, 1, mask.shape) + mask).astype(np.float32), mask)
    pixel = counts.curves(400)
    return [
        roc_figure({"image": image["roc"], "pixel": pixel["roc"]}, (0.1, 0.8), name="a-roc"),
        pr_figure({"image": image["pr"], "pixel": pixel["pr"]}, (0.8, 0.9), name="a-pr"),
        pro_figure(pixel["pro"], {0.3: 0.5, 0.05: None}, name="a-pro"),
        score_histogram(score_rows(1, 1.8), 6.0, name="a-scores"),
        score_histogram(score_rows(2, 1.8), math.nan, name="b-scores"),
        pro_figure(pixel["pro"], {0.3: 0.5, 0.05: 0.4}, saturated=True, name="a-spro"),
    ]


def test_figures_are_small_well_formed_and_spoken(figures):
    for svg in figures:
        assert len(svg) < 25_000
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img" and len(root.get("aria-label", "")) > 10
        assert "width" not in root.attrib and "viewBox" in root.attrib


def test_figures_do_not_reach_into_the_page(figures):
    """No style sheet, no colour of their own beside the page's variables, no id twice on a page."""
    page = "".join(figures)
    assert "<style" not in page and "<metadata" not in page
    colours = re.sub(r"var\(--[\w-]+, #[0-9a-f]{6}\)", "", page)
    assert set(re.findall(r"(?:fill|stroke): ?(#[0-9a-f]{3,6})", colours)) <= {"#ffffff", "#fff"}
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids and len(set(ids)) == len(ids)
    assert set(re.findall(r'(?:href="|url\()#([\w-]+)', page)) <= set(ids)


def test_the_same_figure_gives_the_same_text(figures):
    assert score_histogram(score_rows(1, 1.8), 6.0, name="a-scores") == figures[3]


def test_the_histogram_says_what_it_shows():
    rows = score_rows(1, 1.8)
    spoken = ElementTree.fromstring(score_histogram(rows, 6.0)).get("aria-label")
    above = sum(row.score > 6.0 for row in rows if row.role == "test" and row.label)
    assert f"Above the threshold 6: {above} defects" in spoken
    with pytest.raises(ValueError, match="empty"):
        score_histogram([], 1.0)


@example([0.0, 1.0742214999073618e-76], 1.0)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.one_of(st.just(math.nan), st.floats(-1e6, 1e6)),
)
def test_bars_hold_every_score_and_none_spans_the_threshold(scores, threshold):
    edges = _edges(scores, threshold)
    assert np.all(np.diff(edges) >= 0)
    counts, _ = np.histogram(scores, edges)
    assert counts.sum() == len(scores)
    if not math.isnan(threshold) and min(scores) <= threshold < max(scores) and np.ptp(scores) > 1e-3:
        left = counts[: np.searchsorted(edges, threshold, side="right")].sum()
        assert left == sum(score <= threshold for score in scores)


def test_the_saturated_curve_says_that_it_is(figures):
    spoken = ElementTree.fromstring(figures[-1]).get("aria-label")
    assert spoken == "sPRO curve. sPRO@0.3 0.500, sPRO@0.05 0.400"


def test_a_single_score_is_drawn():
    row = SimpleNamespace(image="a", role="test", label=0, defect_type="good", score=3.0)
    assert "1 test normals" in score_histogram([row], math.nan)


def rows_of(normals: list[float], defects: list[float]) -> list[SimpleNamespace]:
    labelled = [(score, 0) for score in normals] + [(score, 1) for score in defects]
    return [
        SimpleNamespace(image=str(i), role="test", label=label, defect_type="x", score=score)
        for i, (score, label) in enumerate(labelled)
    ]


def test_normals_stay_readable_beside_defects_that_score_far_higher():
    """The axis is broken: threshold and normals have most of it."""
    normals = [0.9 + 0.01 * i for i in range(20)]
    near, far = rows_of(normals, [1.2, 1.3]), rows_of(normals, [1.2, 300.0])
    assert "axis is broken" not in score_histogram(near, 1.12)
    svg = score_histogram(far, 1.12)
    assert "axis is broken at 1.2" in svg and svg.count(">//<") == 2
    limit = _break([row.score for row in far], normals, 1.12)
    assert limit is not None and 1.2 < limit < 2


@example([0.0], [1e6, 2e6], 500.0)
@example([0.0], [1.0], 5e-324)
@example([1e3], [1e6], 1e3 + 2e-13)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    st.lists(st.floats(-1e6, 1e6), max_size=10),
    st.one_of(st.just(math.nan), st.floats(-1e3, 1e3)),
)
def test_a_broken_axis_keeps_the_order_of_scores(normals, defects, threshold):
    limit = _break(normals + defects, normals, threshold)
    if limit is None:
        return
    at, shown = [min(normals + defects), limit, max(normals + defects)], [0.0, 2 / 3, 1.0]
    scores = np.sort(normals + defects)
    drawn = _piecewise(scores, at, shown)
    assert np.all(np.diff(drawn) >= 0) and drawn.min() >= -1e-9 and drawn.max() <= 1 + 1e-9
    assert np.allclose(_piecewise(drawn, shown, at), scores, rtol=1e-6, atol=1e-6 * max(1, at[2] - at[0]))
    assert math.isnan(threshold) or threshold <= limit
    assert "axis is broken" in score_histogram(rows_of(normals, defects), threshold)
