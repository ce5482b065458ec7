"""The leaderboard's rows, marks and means."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reporting.cells import report
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, build_leaderboard
from uad_orchestrator.reporting.board.means import NOT_MEASURED
from uad_orchestrator.reporting.board.row import BoardCell

DETECTORS, CATEGORIES = ("dino", "padim", "patchcore"), ("bottle", "hazelnut", "screw")


@cache
def complete_grid() -> dict:
    return {
        (f"mvtec_ad/{category}", detector): report(category, detector, seed=3 * i + j, strength=2 - 0.5 * j)
        for i, category in enumerate(CATEGORIES)
        for j, detector in enumerate(DETECTORS)
    }


def grid(**instead: object) -> dict:
    """All detectors on all categories; ``instead`` replaces cells, keyed ``category__detector``."""
    cells: dict = dict(complete_grid())
    for name, cell in instead.items():
        category, detector = name.split("__")
        cells[f"mvtec_ad/{category}", detector] = cell
    return cells


def test_a_row_has_every_field_whatever_became_of_the_cell():
    board = build_leaderboard(
        grid(
            bottle__dino="never made",
            bottle__padim=BoardCell("failed", reason="no weights"),
            screw__padim=BoardCell("stale", report("screw", "padim"), reason="preset changed"),
            hazelnut__dino=report("hazelnut", "dino", pixels=False),
        )
    )
    rows = json.loads(board.to_json())["rows"]
    expected = {
        *("dataset", "category", "detector", "image_auroc", "image_ap", "image_f1_max", "pixel_auroc"),
        *("pixel_ap", "pixel_f1_max", "aupro_0.3", "aupro_0.05", "threshold", "threshold_source"),
        *("pixel_threshold", "pixel_threshold_source", "recall", "false_positive_rate", "bank_rows"),
        *("bank_bytes", "seconds_per_image_p50", "seconds_per_image_p95", "status", "reason", "version"),
    }
    assert len(rows) == 9
    assert all(expected <= set(row) for row in rows)
    assert len({frozenset(row) for row in rows}) == 1
    states = {(row["category"], row["detector"]): (row["status"], row["reason"]) for row in rows}
    assert states["bottle", "dino"] == ("missing", "never made")
    assert states["bottle", "padim"] == ("failed", "no weights")
    assert states["screw", "padim"] == ("stale", "preset changed")
    assert states["screw", "dino"] == ("fresh", None)
    assert Leaderboard.from_json(board.to_json()) == board


def test_the_threshold_shown_is_the_calibrated_one():
    """Not the one of F1-max, which reads test labels; its source stands beside it."""
    cell = report()
    (row,) = build_leaderboard({("mvtec_ad/bottle", "patchcore"): cell}).rows
    assert row.threshold == cell.image_operating_point.threshold
    assert row.threshold_source == "leave_one_image_out"


def test_recall_stands_beside_the_false_positive_rate():
    cell = report(strength=1.0)
    (row,) = build_leaderboard({("mvtec_ad/bottle", "patchcore"): cell}).rows
    assert row.false_positive_rate == cell.image_operating_point.false_positive_rate
    assert row.recall == cell.image_operating_point.recall < 1


@settings(max_examples=40)
@given(st.sets(st.tuples(st.sampled_from(CATEGORIES), st.sampled_from(DETECTORS))))
def test_means_are_over_the_categories_that_all_compared_detectors_have(gone):
    cells = grid()
    for category, detector in gone:
        cells[f"mvtec_ad/{category}", detector] = "never made"
    (means,) = build_leaderboard(cells).means
    present = {d: {c for c in CATEGORIES if (c, d) not in gone} for d in DETECTORS}
    compared = [d for d in DETECTORS if present[d]]
    shared = sorted(set.intersection(*(present[d] for d in compared))) if compared else []
    assert list(means.categories) == shared
    assert set(means.left_out) == set(CATEGORIES) - set(shared)
    assert set(means.not_compared) == set(DETECTORS) - set(compared)
    assert [row.detector for row in means.detectors] == compared
    for row in means.detectors:
        values = [cells[f"mvtec_ad/{c}", row.detector].metrics["image_auroc"] for c in shared]
        assert row.values["image_auroc"] == (pytest.approx(np.mean(values)) if shared else None)
    assert all(category in means.note() for category in CATEGORIES)


def test_stale_cells_are_shown_but_not_compared():
    stale = BoardCell("stale", report("screw", "padim", seed=50, strength=9), reason="preset changed")
    board = build_leaderboard(grid(screw__padim=stale))
    assert board.means[0].left_out == {"screw": "padim: stale"}
    assert not any(mark[:2] == ("mvtec_ad/screw", "padim") for mark in board.best())
    assert board.counts() == {"fresh": 8, "stale": 1, "missing": 0, "failed": 0}


def test_a_metric_that_a_category_lacks_narrows_its_own_mean_only():
    board = build_leaderboard(grid(screw__dino=report("screw", "dino", pixels=False)))
    (means,) = board.means
    assert means.categories == CATEGORIES
    assert means.narrower["pixel_auroc"] == ("bottle", "hazelnut")
    assert "image_auroc" not in means.narrower
    assert (
        "pixel_auroc, pixel_ap, " in means.note() and "0.05 over bottle, hazelnut only: the" in means.note()
    )
    assert means.note().endswith("Test images: 36 good + 45 defective.")


def test_metrics_that_no_category_has_are_named_in_one_sentence() -> None:
    without = {
        f"{category}__{detector}": report(category, detector, pixels=False)
        for category in CATEGORIES
        for detector in DETECTORS
    }
    (means,) = build_leaderboard(grid(**without)).means
    assert set(means.narrower.values()) == {()}
    assert means.note().count("None has ") == 1
    assert "None has pixel_auroc, pixel_ap" in means.note() and "only" not in means.note()


def test_the_test_images_of_the_means_are_those_of_the_image_auroc() -> None:
    """They stand there for its interval; LOCO's is undefined where a category lacks one of the two kinds."""
    cells = grid()
    for detector in DETECTORS:
        made = cells["mvtec_ad/screw", detector]
        undefined = {"metrics": made.metrics | {"image_auroc": None}, "reasons": {"image_auroc": "no kind"}}
        cells["mvtec_ad/screw", detector] = made.model_copy(update=undefined | {"intervals": {}})
    (means,) = build_leaderboard(cells).means
    assert means.narrower == {"image_auroc": ("bottle", "hazelnut")}
    assert (means.n_test_normal, means.n_test_anomalous) == (24, 30)
    assert means.note().endswith("Test images of image_auroc: 24 good + 30 defective.")


def test_best_values_share_the_mark_when_they_look_the_same():
    cells = {("d/a", name): report("a", name, dataset="d", seed=1) for name in ("one", "two")}
    cells["d/a", "worse"] = report("a", "worse", dataset="d", seed=2)
    best = build_leaderboard(cells).best()
    assert ("d/a", "one", "pixel_ap") in best and ("d/a", "two", "pixel_ap") in best
    assert ("d/a", "worse", "pixel_ap") not in best
    assert ("d/a", "one", "seconds_per_image_p50") in best
    alone = build_leaderboard({("d/a", "one"): report("a", "one", dataset="d")})
    assert alone.best() == set()


def test_other_aupro_limits_are_columns_too():
    cell = report(limits=("aupro_0.3", "aupro_0.01"))
    board = build_leaderboard({("mvtec_ad/bottle", "patchcore"): cell})
    assert board.metrics[-3:] == ("aupro_0.3", "aupro_0.05", "aupro_0.01")
    row = json.loads(board.to_json())["rows"][0]
    assert row["aupro_0.01"] == cell.metrics["aupro_0.01"] and row["aupro_0.05"] is None
    assert Leaderboard.from_json(board.to_json()).rows[0].value("aupro_0.01") == row["aupro_0.01"]


def test_what_another_protocol_measures_is_null_with_the_reason_and_narrows_no_mean():
    loco = report("pushpins", dataset="mvtec_loco", limits=("spro_0.3", "spro_0.05", "seg_f1"))
    cells = {
        ("mvtec_ad/bottle", "patchcore"): report(),
        ("mvtec_loco/pushpins", "patchcore"): loco,
        ("mvtec_loco/pushpins", "dino"): "never made",
    }
    board = build_leaderboard(cells)
    assert board.metrics[-5:] == ("aupro_0.3", "aupro_0.05", "spro_0.3", "spro_0.05", "seg_f1")
    rows = {(row.dataset, row.detector): row for row in board.rows}
    assert len({frozenset(row.model_dump(by_alias=True)) for row in board.rows}) == 1
    plain, pins, none = (
        rows["mvtec_ad", "patchcore"],
        rows["mvtec_loco", "patchcore"],
        rows["mvtec_loco", "dino"],
    )
    assert (plain.value("spro_0.05"), plain.reasons["spro_0.05"]) == (None, NOT_MEASURED)
    assert (pins.value("aupro_0.3"), pins.reasons["aupro_0.3"]) == (None, NOT_MEASURED)
    assert pins.value("spro_0.05") == loco.metrics["spro_0.05"]
    assert none.reasons == {}
    assert [means.narrower for means in board.means] == [{}, {}]
    assert board.means[1].detectors[0].values["spro_0.05"] == loco.metrics["spro_0.05"]
    assert Leaderboard.from_json(board.to_json()) == board


def test_what_cannot_be_a_cell_is_refused():
    with pytest.raises(ValueError, match="dataset/category"):
        build_leaderboard({("bottle", "patchcore"): "never made"})
    with pytest.raises(ValueError, match="needs a report"):
        BoardCell("stale", reason="preset changed")
    with pytest.raises(ValueError, match="needs the reason"):
        BoardCell("failed")
    assert build_leaderboard({}).rows == ()
