"""What the board says of a line: expected cost, the grey zone, and the order by any figure."""

from __future__ import annotations

import csv
import io
import json
from datetime import date

import pytest

from tests.reporting.cells import report, review
from uad_orchestrator.metrics import Pin
from uad_orchestrator.metrics.thresholds.costs import Costs
from uad_orchestrator.reporting.board.board_text import render_leaderboard
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, build_leaderboard
from uad_orchestrator.reporting.board.remarks import remarks

COSTS = Costs(false_alarm=1, miss=50, defect_rate=0.02)


def board(costs: Costs | None = COSTS) -> Leaderboard:
    strengths = {"weak": 0.5, "strong": 6.0, "fair": 2.0}
    cells = {
        ("d/bottle", name): report(detector=name, dataset="d", strength=s) for name, s in strengths.items()
    }
    cells["d/bottle", "fair"] = cells["d/bottle", "fair"].model_copy(update={"review": review()})
    return build_leaderboard({**cells, ("d/bottle", "absent"): "never made"}, costs=costs)


def test_the_expected_cost_is_that_of_the_rows_own_rates() -> None:
    for row in board().rows:
        if row.status == "fresh":
            assert row.false_positive_rate is not None and row.recall is not None
            misses, alarms = 0.02 * 50 * (1 - row.recall), 0.98 * row.false_positive_rate
            assert row.expected_cost == pytest.approx(misses + alarms)
    assert {row.expected_cost for row in board(costs=None).rows} == {None}


def test_a_cost_that_is_not_known_says_why() -> None:
    made = report()
    at = made.image_operating_point.model_copy(
        update={"recall": None, "reasons": {"recall": "no defective test images"}}
    )
    cells = {("d/bottle", "one"): made.model_copy(update={"image_operating_point": at})}
    (row,) = build_leaderboard(cells, costs=COSTS).rows
    assert row.expected_cost is None
    assert row.reasons["expected_cost"] == "no defective test images"


def test_sorted_by_cost_the_cheapest_comes_first_and_what_has_none_last() -> None:
    found = board()
    ranked = found.sorted_by("expected_cost").rows
    costs = [row.expected_cost for row in ranked if row.expected_cost is not None]
    assert len(costs) == 3 and costs == sorted(costs) and ranked[-1].detector == "absent"
    assert [row.detector for row in found.sorted_by("image_auroc").rows][:3] == ["strong", "fair", "weak"]
    assert {row.detector for row in ranked} == {row.detector for row in found.rows}


def test_the_figure_that_it_is_sorted_by_is_shown_however_narrow() -> None:
    narrow = render_leaderboard(board(), "table", width=60)
    assert "expected" not in narrow
    assert "expected" in render_leaderboard(board(), "table", width=60, sorted_by="expected_cost")


def test_a_threshold_chosen_on_test_labels_is_marked_below_every_board() -> None:
    pin = Pin(threshold=1.0, chosen_on="test labels", by="anna", at=date(2026, 11, 27))
    made = {name: report(detector=name, dataset="d") for name in ("plain", "many@seed0", "many@seed1")}
    for name, of in (("many@seed1", "image_operating_point"), ("plain", "pixel_operating_point")):
        at = getattr(made[name], of).model_copy(update={"source": str(pin)})
        made[name] = made[name].model_copy(update={of: at})
    cells = {("d/bottle", name): cell for name, cell in made.items()}
    found = build_leaderboard(cells, {"many": ["many@seed0", "many@seed1"]})
    said = [line for line in remarks(found) if "test labels" in line]
    assert [line.partition(" was chosen on test labels")[0] for line in said] == [
        "d/bottle many@seed1: its image threshold",
        "d/bottle plain: its pixel threshold",
    ]
    for style in ("table", "md"):
        assert said[0] in render_leaderboard(found, style, width=300)  # type: ignore[arg-type]


def test_seeds_stay_behind_their_mean() -> None:
    cells = {
        ("d/bottle", f"many@seed{i}"): report(detector=f"many@seed{i}", seed=i, dataset="d") for i in (0, 1)
    }
    cells["d/bottle", "one"] = report(detector="one", dataset="d", strength=9.0)
    found = build_leaderboard(cells, {"many": ["many@seed0", "many@seed1"]}, costs=COSTS)
    names = [row.detector for row in found.sorted_by("image_auroc").rows]
    assert names == ["one", "many", "many@seed0", "many@seed1"]
    assert found.rows[0].detector == "many" and found.rows[0].expected_cost is not None


def test_a_figure_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'expected_cost'"):
        board().sorted_by("expected_costs")


def test_cost_and_grey_zone_stand_in_every_format_where_there_are_any() -> None:
    for text in (render_leaderboard(board(), "table", width=400), render_leaderboard(board(), "md")):
        assert "expected" in text and "review" in text
    plain = build_leaderboard({("d/bottle", "one"): report()})
    for text in (render_leaderboard(plain, "table", width=400), render_leaderboard(plain, "md")):
        assert "expected" not in text and "review" not in text
    rows = list(csv.DictReader(io.StringIO(render_leaderboard(board(), "csv"))))
    fair = next(row for row in rows if row["detector"] == "fair")
    assert float(fair["share_in_review"]) == 0.25 and float(fair["review_threshold"]) == 5.8
    (told,) = [row for row in json.loads(board().to_json())["rows"] if row["detector"] == "fair"]
    assert told["defects_in_review"] == pytest.approx(2 / 15)
    assert told["intervals"]["share_in_review"][0] < 0.25 < told["intervals"]["share_in_review"][1]
