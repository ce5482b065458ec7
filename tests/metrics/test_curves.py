"""Curves and areas from counts, against scikit-learn, quadrature and the plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import fixed_quad
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from tests.metrics.made_pixels import area_up_to
from uad_orchestrator.metrics import curves
from uad_orchestrator.metrics.curves import Curve, Groups, groups_of
from uad_orchestrator.metrics.image_metrics import image_curves

CASES = st.lists(
    st.tuples(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 2.0, 3.0]), st.integers(0, 1)), min_size=2, max_size=40
).filter(lambda rows: len({label for _, label in rows}) == 2)

COUNTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()).filter(lambda row: row[0] + row[1] > 0),
    min_size=1,
    max_size=8,
).filter(lambda rows: sum(r[0] for r in rows) > 0 and sum(r[1] for r in rows) > 0)


def grouped(rows: list[tuple[int, int, bool]]) -> Groups:
    """Groups of (negatives, positives, mixed), highest score first; one wide where it is mixed, apart by 2."""
    negatives, positives = (np.array([row[i] for row in rows]) for i in (0, 1))
    highest = 2.0 * np.arange(len(rows))[::-1]
    return Groups(negatives, positives, positives * 7, highest - [row[2] for row in rows], highest)


def columns(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = zip(*rows, strict=True)
    return np.array(scores), np.array(labels)


@given(CASES)
def test_single_scores_are_grouped_by_value_highest_first(rows: list[tuple[float, int]]) -> None:
    scores, labels = columns(rows)
    groups = groups_of(scores, labels)
    values = sorted(set(scores.tolist()), reverse=True)
    assert groups.highest.tolist() == groups.lowest.tolist() == values
    assert groups.positives.tolist() == [int(labels[scores == v].sum()) for v in values]
    assert groups.negatives.tolist() == [int((1 - labels)[scores == v].sum()) for v in values]
    assert not groups.mixed.any()
    for i, threshold in enumerate(groups.thresholds):
        assert np.array_equal(scores > threshold, scores >= values[i]), (
            "scores above it are those of groups 0..i"
        )


@given(CASES)
def test_curves_of_scores_are_scikit_learns(rows: list[tuple[float, int]]) -> None:
    scores, labels = columns(rows)
    found = image_curves(scores, labels)
    assert list(found) == ["roc", "pr"]
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(found["roc"].x, fpr)
    np.testing.assert_allclose(found["roc"].y, tpr)
    precision, recall, _ = precision_recall_curve(labels, scores)
    met = np.append(np.diff(recall[::-1]) > 0, False)  # scikit-learn ends at full recall, ours goes on
    x, y = found["pr"].x, found["pr"].y
    assert (x[0], y[0]) == (0.0, 1.0)
    np.testing.assert_allclose(x[: recall.size], recall[::-1])
    np.testing.assert_allclose(y[1 : recall.size], precision[::-1][1:])
    assert (np.diff(x[recall.size - 1 :]) == 0).all() and met.size == recall.size
    for curve in found.values():
        assert curve.thresholds[0] == scores.max() and (np.diff(curve.thresholds) < 0).all()
        for at, (threshold, share) in enumerate(zip(curve.thresholds, found["roc"].y, strict=True)):
            assert share == pytest.approx(np.mean(scores[labels == 1] > threshold)), at


@given(CASES)
def test_areas_of_scores_are_scikit_learns(rows: list[tuple[float, int]]) -> None:
    scores, labels = columns(rows)
    groups = groups_of(scores, labels)
    assert curves.roc_auc(groups) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert curves.average_precision(groups) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def precision_integral(found: int, false: int, positives: int, negatives: int) -> float:
    """Over the positives of a group, each met after half a step more, in which negatives enter evenly."""

    def precision(entered: np.ndarray) -> np.ndarray:
        hits = found + entered + 0.5
        return hits / (hits + false + negatives / positives * entered)

    return fixed_quad(precision, 0, positives, n=4)[0]


@given(COUNTS)
def test_inside_a_mixed_group_positives_and_negatives_enter_evenly(rows: list[tuple[int, int, bool]]) -> None:
    """Average precision: exact groups as a step, mixed ones as the integral over their positives."""
    found = false = 0
    area = 0.0
    for negatives, positives, mixed in rows:
        if mixed and positives:
            area += precision_integral(found, false, positives, negatives)
        found, false = found + positives, false + negatives
        if not mixed:
            area += positives * found / max(found + false, 1)
    groups = grouped(rows)
    assert curves.average_precision(groups) == pytest.approx(area / found, rel=1e-9)
    assert groups.mixed.tolist() == [mixed for *_, mixed in rows]


def test_average_precision_of_a_large_mixed_group_is_that_of_a_shuffled_one() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([[1] * 5, [0] * 3, rng.permutation([1] * 400 + [0] * 800), [0] * 9])
    groups = Groups(
        np.array([0, 3, 800, 9]), np.array([5, 0, 400, 0]), np.array([5, 0, 400, 0]),
        np.array([9.0, 8.0, 1.0, 0.0]), np.array([9.0, 8.0, 7.0, 0.0]),
    )  # fmt: skip
    shuffled = [
        average_precision_score(np.concatenate([labels[:8], rng.permutation(labels[8:1208]), labels[1208:]]),
                                -np.arange(labels.size))
        for _ in range(40)
    ]  # fmt: skip
    assert curves.average_precision(groups) == pytest.approx(np.mean(shuffled), abs=3e-3)


@given(COUNTS)
def test_f1_max_is_the_best_of_all_thresholds_at_the_highest_that_reaches_it(
    rows: list[tuple[int, int, bool]],
) -> None:
    total = sum(positives for _, positives, _ in rows)
    best, where, found, false = -1.0, 0, 0, 0
    for i, (negatives, positives, _) in enumerate(rows):
        found, false = found + positives, false + negatives
        f1 = 2 * found / (found + false + total)
        if f1 > best + 1e-12:
            best, where = f1, i
    groups = grouped(rows)
    value, threshold = curves.f1_max(groups)
    assert value == pytest.approx(best)
    inside = groups.lowest > threshold
    assert inside.tolist() == [i <= where for i in range(len(rows))]


@given(COUNTS, st.sampled_from([0.01, 0.05, 0.3, 0.5, 1.0]))
def test_aupro_is_the_area_to_its_limit(rows: list[tuple[int, int, bool]], limit: float) -> None:
    groups = grouped(rows)
    n, p = sum(row[0] for row in rows), sum(row[1] for row in rows)
    points, x, y = [(0.0, 0.0)], 0, 0
    for negatives, positives, _ in rows:
        x, y = x + negatives, y + positives
        points.append((x / n, y / p))
    assert curves.aupro(groups, limit) == pytest.approx(area_up_to(points, limit), abs=1e-12)
    pro = curves.pro_curve(groups)
    np.testing.assert_allclose(np.stack([pro.x, pro.y], axis=1), points)
    np.testing.assert_array_equal(groups.false_positives, np.cumsum(groups.negatives))
    np.testing.assert_array_equal(groups.true_positives, np.cumsum(groups.positives))


def climbing(seed: int, n: int) -> Curve:
    """Points of a monotonic curve from (0, 0) to (1, 1) with flat and upright pieces."""
    rng = np.random.default_rng(seed)
    x, y = (np.concatenate([[0], np.cumsum(rng.choice([0.0, 1.0, 5.0], n))]) for _ in range(2))
    return Curve(x / max(x[-1], 1), y / max(y[-1], 1), np.arange(n + 1)[::-1].astype(float))


@given(st.integers(0, 1000), st.integers(1, 300), st.integers(2, 40))
def test_a_thinned_curve_has_points_of_its_own_spread_along_its_length(
    seed: int, n: int, n_points: int
) -> None:
    whole = climbing(seed, n)
    thin = curves.thinned(whole, n_points)
    if n + 1 <= n_points:
        assert thin is whole
        return
    assert 2 <= thin.x.size <= n_points
    at = np.searchsorted(-whole.thresholds, -thin.thresholds)
    for values, kept in zip(whole, thin, strict=True):
        np.testing.assert_array_equal(values[at], kept)
    assert at[0] == 0 and at[-1] == n and (np.diff(at) > 0).all()
    steps = np.abs(np.diff(whole.x)) + np.abs(np.diff(whole.y))
    along = np.concatenate([[0.0], np.cumsum(steps)])
    gaps = np.diff(along[at])
    assert gaps.max() <= along[-1] / (n_points - 1) + steps.max() + 1e-9


def test_a_curve_of_one_point_is_none() -> None:
    with pytest.raises(ValueError, match="at least 2 points, got n_points=1"):
        curves.thinned(climbing(0, 9), 1)
    assert curves.thinned(climbing(0, 9), 2).thresholds.tolist() == [9, 0]
    assert curves.thinned(climbing(0, 9), 10).x.size == 10


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 12)), min_size=1, max_size=4))
def test_the_mean_of_curves_is_their_mean_at_every_x(shapes: list[tuple[int, int]]) -> None:
    given_curves = [
        Curve(np.append(c.x, 1.0), np.append(c.y, c.y[-1]), np.append(c.thresholds, -1.0))
        for c in (climbing(*shape) for shape in shapes)
    ]
    mean = curves.mean_curve(given_curves)
    assert np.isnan(mean.thresholds).all() and mean.thresholds.shape == mean.x.shape == mean.y.shape
    assert (np.diff(mean.x) >= 0).all() and (np.diff(mean.y) >= -1e-12).all()
    areas = [np.trapezoid(c.y, c.x) for c in given_curves]
    assert np.trapezoid(mean.y, mean.x) == pytest.approx(np.mean(areas), abs=1e-12)
    every = np.unique(np.concatenate([c.x for c in given_curves]))
    between = (every[1:] + every[:-1]) / 2
    expected = np.mean([np.interp(between, c.x, c.y) for c in given_curves], axis=0)
    np.testing.assert_allclose(np.interp(between, mean.x, mean.y), expected, atol=1e-12)
    np.testing.assert_allclose(
        [mean.y[0], mean.y[-1]], np.mean([[c.y[0], c.y[-1]] for c in given_curves], axis=0)
    )


def test_where_curves_rise_upright_the_mean_stands_there_from_below_and_from_above() -> None:
    step, slope = (
        np.array(points, float).T for points in ([(0, 0), (0.5, 0), (0.5, 1), (1, 1)], [(0, 0), (1, 1)])
    )
    mean = curves.mean_curve([Curve(*xy, np.zeros(xy.shape[1])) for xy in (step, slope)])
    assert mean.x.tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert mean.y.tolist() == [0, 0, 0.25, 0.75, 1, 1]
