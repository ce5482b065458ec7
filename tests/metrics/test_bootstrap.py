"""The bootstrap of the image AUROC against scikit-learn, draw by draw, and against its own statistics."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from uad_orchestrator.metrics import bootstrap
from uad_orchestrator.metrics.bootstrap import auroc_replicates, interval, within_noise


def drawn_images(seed: int, normals: int, defects: dict[str, int], shift: float = 1.0, decimals: int = 1):
    """Names, scores with ties, and kinds, in no order."""
    rng = np.random.default_rng(seed)
    kinds = [None] * normals + [kind for kind, n in defects.items() for _ in range(n)]
    scores = np.round(rng.normal([0.0 if kind is None else shift for kind in kinds], 1.0), decimals)
    order = rng.permutation(len(kinds))
    names = [f"{kinds[i]}/{i:03d}.png" for i in order]
    return names, scores[order], [kinds[i] for i in order]


@pytest.mark.parametrize("averaged", [False, True])
def test_every_replicate_is_the_auroc_of_its_draw(monkeypatch: pytest.MonkeyPatch, averaged: bool) -> None:
    names, scores, kinds = drawn_images(3, 13, {"hole": 5, "crack": 8})
    recorded: list[np.ndarray] = []
    counts = bootstrap._counts
    monkeypatch.setattr(bootstrap, "_counts", lambda *a: recorded.append(counts(*a)) or recorded[-1])
    found = auroc_replicates(names, scores, kinds, averaged=averaged, n=50)
    of = {kind: [s for _, k, s in sorted(zip(names, map(str, kinds), scores, strict=True)) if k == kind]
          for kind in ("None", "crack", "hole")}  # fmt: skip
    normal, crack, hole = recorded
    for draw in range(50):
        weights = {"None": normal[draw], "crack": crack[draw], "hole": hole[draw]}
        groups = [["crack"], ["hole"]] if averaged else [["crack", "hole"]]
        expected = []
        for group in groups:
            values = np.concatenate([of["None"], *(of[kind] for kind in group)])
            weight = np.concatenate([weights["None"], *(weights[kind] for kind in group)])
            labels = np.arange(values.size) >= 13
            expected.append(roc_auc_score(labels, values, sample_weight=weight))
        assert found[draw] == pytest.approx(np.mean(expected), abs=1e-12)
    assert all((drawn.sum(axis=1) == drawn.shape[1]).all() for drawn in recorded), (
        "each kind keeps its number"
    )


def test_blocks_make_no_difference_to_the_spread_and_the_order_of_the_rows_none_at_all() -> None:
    names, scores, kinds = drawn_images(5, 30, {"hole": 20})
    found = auroc_replicates(names, scores, kinds)
    turned = auroc_replicates(names[::-1], scores[::-1], kinds[::-1])
    np.testing.assert_array_equal(found, turned)
    assert np.mean(found) == pytest.approx(roc_auc_score([k is not None for k in kinds], scores), abs=0.01)


def test_the_interval_covers_the_true_auroc_as_often_as_it_says() -> None:
    """For normal scores one apart the AUROC is Phi(1 / sqrt 2); the coverage of 300 intervals is near 95 %."""
    true = 0.76025
    covered = 0
    for seed in range(300):
        low, high = interval(auroc_replicates(*drawn_images(seed, 40, {"hole": 40}, decimals=9), n=400))
        covered += low <= true <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_paired_draws_tell_apart_what_unpaired_intervals_do_not() -> None:
    names, scores, kinds = drawn_images(1, 100, {"hole": 100}, shift=1.2, decimals=9)
    noise = np.random.default_rng(9).normal(0, 0.6, scores.size)
    good, blurred = (auroc_replicates(names, s, kinds) for s in (scores, scores + noise))
    assert interval(good).low < interval(blurred).high, "the intervals overlap"
    assert not within_noise(good, blurred)
    assert within_noise(good, auroc_replicates(names, 2 * scores + 1, kinds)), "the same order of the images"
    slightly = scores + np.random.default_rng(10).normal(0, 0.05, scores.size)
    assert within_noise(good, auroc_replicates(names, slightly, kinds))


@pytest.mark.parametrize("n", [1, 7, 400, 2000, 2001])
def test_a_difference_is_judged_by_its_interval_however_many_draws_lie_on_each_side(n: int) -> None:
    """Also where all but a few are clear without sorting, and where the end of the interval is 0 itself."""
    rng = np.random.default_rng(n)
    judged = set()
    for below in {
        0,
        1,
        n // 2,
        n,
        *(round(n * tail) + more for tail in (0.025, 0.975) for more in range(-6, 7)),
    }:
        if not 0 <= below <= n:
            continue
        for ties in (0, 1, 3):
            difference = np.concatenate([-rng.random(below), rng.random(n - below)])
            difference[: min(ties, n)] = 0
            difference = rng.permutation(difference).astype(np.float32)
            low, high = interval(difference)
            assert within_noise(difference, np.zeros_like(difference)) == (low <= 0 <= high), (below, ties)
            judged.add(bool(low <= 0 <= high))
    assert judged == {True, False}


def test_other_images_are_other_draws() -> None:
    names, scores, kinds = drawn_images(1, 20, {"hole": 20})
    other = auroc_replicates([f"x/{name}" for name in names], scores, kinds)
    assert abs(np.corrcoef(auroc_replicates(names, scores, kinds), other)[0, 1]) < 0.1


def test_the_draws_are_seeded_by_eight_bytes_of_the_names_digest() -> None:
    """A report that is made anew has the interval it had."""
    digest = hashlib.sha256(b"[('a.png', None), ('b.png', 'hole')]").hexdigest()
    assert bootstrap._seed([("a.png", None), ("b.png", "hole")]) == int(digest[:16], 16)


def test_one_class_alone_has_no_auroc() -> None:
    assert auroc_replicates(["a", "b"], [0.1, 0.2], [None, None]) is None
    assert auroc_replicates([], [], []) is None


def test_a_large_test_set_takes_a_moment() -> None:
    names, scores, kinds = drawn_images(2, 1000, {"hole": 1000})
    started = time.process_time()
    auroc_replicates(names, scores, kinds)
    assert time.process_time() - started < 2
