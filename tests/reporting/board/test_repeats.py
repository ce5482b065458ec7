"""Rows of several seeds folded into one, and which image AUROCs can be told apart."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from tests.reporting.cells import report, score_rows
from uad_orchestrator.metrics.bootstrap import auroc_replicates, interval, within_noise
from uad_orchestrator.metrics.intervals import interval_of_auroc, interval_of_mean_auroc, rate_interval
from uad_orchestrator.reporting.board.board_text import render_leaderboard
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, build_leaderboard
from uad_orchestrator.reporting.board.means import DatasetMeans, DetectorMeans
from uad_orchestrator.reporting.board.row import BoardCell
from uad_orchestrator.reporting.html_report import write_report

CATEGORIES = ("bottle", "screw")
SEEDS = ("few@seed0", "few@seed1", "few@seed2")


def replicates(seed: int, strength: float) -> np.ndarray:
    """Of the scores behind ``report(seed=..., strength=...)``."""
    tested = [row for row in score_rows(seed, strength) if row.role == "test"]
    kinds = [row.defect_type if row.label else None for row in tested]
    found = auroc_replicates([row.image for row in tested], [row.score for row in tested], kinds)
    assert found is not None
    return found


def outcome(category: str, detector: str, seed: int, strength: float) -> BoardCell:
    made = report(category, detector, seed=seed, strength=strength)
    return BoardCell("fresh", made, replicates=replicates(seed, strength))


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], BoardCell]:
    found = {}
    for i, category in enumerate(CATEGORIES):
        for j, name in enumerate(SEEDS):
            found[f"mvtec_ad/{category}", name] = outcome(category, name, 10 * i + j, 1.0)
        for j, (name, strength) in enumerate((("near", 1.1), ("strong", 6.0))):
            found[f"mvtec_ad/{category}", name] = outcome(category, name, 10 * i + 5 + j, strength)
    return found


@pytest.fixture(scope="module")
def board(cells: dict) -> Leaderboard:
    return build_leaderboard(cells, {"few": SEEDS})


def row_of(board: Leaderboard, category: str, detector: str):
    return next(row for row in board.rows if (row.category, row.detector) == (category, detector))


def test_seeds_are_folded_into_mean_and_deviation_and_stay_below(board: Leaderboard) -> None:
    assert [row.detector for row in board.rows if row.category == "screw"] == [
        "few",
        *SEEDS,
        "near",
        "strong",
    ]
    few = row_of(board, "screw", "few")
    for metric in ("image_auroc", "pixel_ap", "aupro_0.05", "recall", "seconds_per_image_p50"):
        values = [row_of(board, "screw", seed).value(metric) for seed in SEEDS]
        assert few.value(metric) == pytest.approx(np.mean(values))
        assert few.std[metric] == pytest.approx(np.std(values, ddof=1))
    assert few.threshold is None and "one per seed" in few.reasons["threshold"]
    assert few.threshold_source == "leave_one_image_out" and few.bank_rows == 1638
    assert board.counts() == {"fresh": 10, "stale": 0, "missing": 0, "failed": 0}
    assert len({frozenset(row) for row in json.loads(board.to_json())["rows"]}) == 1, (
        "every row has every field"
    )
    assert Leaderboard.from_json(board.to_json()) == board


def test_a_mean_over_seeds_needs_them_all(cells: dict) -> None:
    broken = {**cells, ("mvtec_ad/screw", "few@seed1"): BoardCell("failed", reason="no weights")}
    board = build_leaderboard(broken, {"few": SEEDS})
    few = row_of(board, "screw", "few")
    assert (few.status, few.reason, few.image_auroc) == ("failed", "few@seed1: no weights", None)
    assert board.means[0].left_out == {"screw": "few: failed"}


def test_a_single_seed_that_was_asked_for_stands_for_itself(cells: dict) -> None:
    one = {key: cell for key, cell in cells.items() if key[1] == "few@seed1"}
    board = build_leaderboard(one, {"few": SEEDS})
    assert [(row.detector, row.repeat_of) for row in board.rows] == [("few@seed1", None)] * 2
    assert [row.detector for row in board.means[0].detectors] == ["few@seed1"]


def test_means_over_categories_deviate_by_seed(board: Leaderboard) -> None:
    (means,) = board.means
    assert [row.detector for row in means.detectors] == ["few", "near", "strong"]
    per_seed = [np.mean([row_of(board, c, seed).image_auroc for c in CATEGORIES]) for seed in SEEDS]
    few = means.detectors[0]
    assert few.values["image_auroc"] == pytest.approx(np.mean(per_seed))
    assert few.std["image_auroc"] == pytest.approx(np.std(per_seed, ddof=1))
    assert means.detectors[1].std == {}


def test_ties_come_from_the_replicates(cells: dict, board: Leaderboard) -> None:
    for category in CATEGORIES:
        of = {name: cells[f"mvtec_ad/{category}", name].replicates for name in ("near", "strong", *SEEDS)}
        few = np.mean([of[seed] for seed in SEEDS], axis=0)
        assert row_of(board, category, "few@seed1").within_noise_of == ()
        tied = row_of(board, category, "near").within_noise_of
        assert ("few" in tied) == within_noise(few, of["near"])
        assert "strong" not in tied and not set(SEEDS) & set(tied)


def test_each_row_has_the_intervals_of_its_report_and_a_mean_over_seeds_their_mean(
    board: Leaderboard,
) -> None:
    for category in CATEGORIES:
        for row in (row_of(board, category, name) for name in ("near", "strong", *SEEDS)):
            assert row.image_auroc_interval == interval_of_auroc(row.image_auroc, 12, 15)
            assert row.intervals["recall"] == rate_interval(round(row.recall * 15), 15)
            assert row.intervals["false_positive_rate"] == rate_interval(
                round(row.false_positive_rate * 12), 12
            )
            assert row.value("recall_interval") == row.intervals["recall"]
            assert row.value("test_images") == "12 + 15" and row.value("image_ap_interval") is None
        seeds = [row_of(board, category, seed).image_auroc_interval for seed in SEEDS]
        few = row_of(board, category, "few")
        assert few.image_auroc_interval == pytest.approx(np.mean(seeds, axis=0))
        assert few.intervals["image_auroc"] == few.image_auroc_interval


def test_the_interval_of_a_mean_is_newcombes_below_ten_categories_and_the_bootstrap_from_there(
    cells: dict,
) -> None:
    few = build_leaderboard(cells, {"few": SEEDS}).means[0]
    for row in few.detectors:
        assert row.image_auroc_interval == interval_of_mean_auroc(row.values["image_auroc"], [(12, 15)] * 2)
    assert few.note().endswith("Test images: 24 good + 30 defective.")
    many = {
        (f"mvtec_ad/c{i}", name): outcome(f"c{i}", name, i, strength)
        for i in range(10)
        for name, strength in (("near", 1.1), ("perfect", 40.0))
    }
    near, perfect = build_leaderboard(many).means[0].detectors
    drawn = [many[f"mvtec_ad/c{i}", "near"].replicates for i in range(10)]
    assert near.image_auroc_interval == interval(np.mean(drawn, axis=0))
    assert perfect.values["image_auroc"] == 1.0
    assert perfect.image_auroc_interval == interval_of_mean_auroc(1.0, [(12, 15)] * 10), "never of width 0"


def test_what_cannot_be_told_from_the_best_is_marked(cells: dict, tmp_path) -> None:
    weak = {key: cell for key, cell in cells.items() if key[1] != "strong"}
    board = build_leaderboard(weak, {"few": SEEDS})
    best = {place[:2] for place in board.best() if place[2] == "image_auroc"}
    marked = board.within_noise()
    assert marked and not marked & best
    for category, detector in marked:
        assert {name for place, name in best if place == category} & set(
            row_of(board, category.split("/")[1], detector).within_noise_of
        )
    row = row_of(board, marked and sorted(marked)[0][0].split("/")[1], sorted(marked)[0][1])
    for text in (render_leaderboard(board, "md"), render_leaderboard(board, "table", width=250)):
        assert "≈" in text and "paired bootstrap" in text
        assert f"{row.image_auroc_interval[0]:.3f}–{row.image_auroc_interval[1]:.3f}" in text
    write_report(tmp_path / "report.html", board, [])
    page = (tmp_path / "report.html").read_text()
    assert "≈" in page and f"± {row_of(board, 'screw', 'few').std['pixel_ap']:.3f}" in page
    first = next(csv.DictReader(io.StringIO(render_leaderboard(board, "csv"))))
    assert first["repeats"] == "; ".join(SEEDS) and first["image_auroc_interval"].count(";") == 1


def test_a_mean_that_looks_like_the_best_is_best_and_not_marked_as_tied() -> None:
    tied = {"a": ("b", "c"), "b": ("a", "c", "d"), "c": ("a", "b"), "d": ("b",)}
    aurocs = {"a": 0.98702, "b": 0.98698, "c": 0.981, "d": 0.97}
    detectors = tuple(
        DetectorMeans(detector=name, values={"image_auroc": aurocs[name]}, within_noise_of=rivals)
        for name, rivals in tied.items()
    )
    means = DatasetMeans(
        dataset="d", categories=("x", "y"), left_out={}, not_compared={}, narrower={}, detectors=detectors
    )
    assert means.within_noise() == {"c", "d"}, "a and b share the mark of the best"


def test_without_replicates_there_is_no_tie() -> None:
    board = build_leaderboard({("mvtec_ad/bottle", name): report("bottle", name) for name in ("a", "b")})
    assert board.within_noise() == set() and "≈" not in render_leaderboard(board, "table", width=200)


def test_the_note_on_ties_is_there_where_a_tie_is_marked() -> None:
    """Of one category the means are left out, and with them their marks; equal figures are best, both of them."""

    def marks(categories: str, strength: float) -> int:
        cells = {
            (f"d/{category}", name): outcome(category, name, 1, of)
            for category in categories
            for name, of in (("one", 1.0), ("two", strength))
        }
        return render_leaderboard(build_leaderboard(cells), "table").count("≈")

    assert (marks("a", 1.0), marks("ab", 1.0)) == (0, 0)
    assert marks("a", 0.95) == 2, "of the row, and the note"
    assert marks("ab", 0.95) == 4, "of two rows and a mean, and the note"
