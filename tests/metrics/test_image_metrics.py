"""Image metrics against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from uad_orchestrator.metrics import image_metrics, threshold_metrics
from uad_orchestrator.metrics.image_metrics import image_curves

SCORES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.5, 1.0]))
CASES = st.lists(st.tuples(SCORES, st.integers(0, 1)), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


@given(CASES)
def test_image_metrics_are_scikit_learns(rows: list[tuple[float, int]]) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    found = image_metrics(scores, labels)
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.ap == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))
    assert found.f1_max == pytest.approx(best, abs=1e-12)
    assert threshold_metrics(scores, labels, found.f1_max_threshold).f1 == pytest.approx(best, abs=1e-12)


@given(CASES, SCORES)
def test_threshold_metrics_are_scikit_learns(rows: list[tuple[float, int]], threshold: float) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    found = threshold_metrics(scores, labels, threshold)
    assert found.f1 == pytest.approx(f1_score(labels, scores > threshold, zero_division=0), abs=1e-12)
    assert found.tp + found.fp + found.tn + found.fn == len(rows)
    assert found.false_positive_rate == pytest.approx(np.mean(scores[labels == 0] > threshold))


def test_one_class_only_gives_nan_with_the_reason() -> None:
    found = image_metrics([0.1, 0.2], [1, 1])
    assert all(map(math.isnan, (found.auroc, found.ap, found.f1_max, found.f1_max_threshold)))
    assert found.reasons["ap"] == "no normal images among 2"
    assert image_metrics([], []).reasons["auroc"] == "no images"
    assert image_curves([0.1, 0.2], [0, 0]) == {}


def test_threshold_metrics_that_are_undefined_say_why() -> None:
    nothing_called = threshold_metrics([0.1, 0.2], [0, 1], 5.0)
    assert math.isnan(nothing_called.precision)
    assert nothing_called.reasons == {"precision": "nothing scores above the threshold"}
    assert (nothing_called.recall, nothing_called.f1) == (0.0, 0.0)
    assert set(threshold_metrics([0.1], [0], 5.0).reasons) == {"precision", "recall", "f1", "iou"}


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, math.nan], [0, 1], "1 of 2 scores are not finite, the first at index 1"),
        ([0.1, 0.2], [0], "one label per score"),
        ([0.1, 0.2], [0, 2], "labels must be 0"),
    ],
)
def test_wrong_input_is_refused(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_metrics(scores, labels)


def test_a_score_at_the_threshold_is_normal() -> None:
    found = threshold_metrics([0.5, 0.5, 0.6], [0, 1, 1], 0.5)
    assert (found.tp, found.fp, found.fn) == (1, 0, 1)


def test_a_threshold_that_is_nan_decides_nothing() -> None:
    with pytest.raises(ValueError, match="not calibrated"):
        threshold_metrics([0.5], [0], math.nan)
