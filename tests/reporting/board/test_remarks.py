"""What is empty or of another kind is said below the board, once for each category."""

from __future__ import annotations

from typing import Any

from tests.reporting.cells import report
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.reporting.board.leaderboard import build_leaderboard
from uad_orchestrator.reporting.board.remarks import remarks


def changed(made: MetricsReport, **sections: dict[str, Any]) -> MetricsReport:
    """A report with other values in some of its sections; a metric that is None has the reason ``no masks``."""
    content = made.model_dump()
    for name, values in sections.items():
        content[name] = {**content[name], **values}
    content["reasons"] |= {
        name: "no masks" for name, value in content["metrics"].items() if value is None
    } | content["reasons"]
    return MetricsReport(**content)


def test_a_complete_board_has_none() -> None:
    assert remarks(build_leaderboard({("mvtec_ad/bottle", "patchcore"): report()})) == []


def test_empty_figures_are_named_with_their_reason_and_detectors_where_it_is_not_of_all() -> None:
    empty = changed(report(), metrics={"pixel_auroc": None, "pixel_ap": None}, reasons={})
    both = {("a/b", "one"): empty, ("a/b", "other"): empty}
    assert remarks(build_leaderboard(both)) == ["a/b: no pixel AUROC, pixel AP: no masks"]
    one = {("a/b", "one"): empty, ("a/b", "other"): report()}
    assert remarks(build_leaderboard(one)) == ["a/b one: no pixel AUROC, pixel AP: no masks"]


def test_figures_over_fewer_images_and_of_held_out_normals_are_named() -> None:
    made = changed(
        report(),
        counts={"n_test_anomalous": 6, "n_test_masked": 4},
        image_operating_point={"false_positive_rate_from": "12 held-out normals (validation)"},
    )
    assert remarks(build_leaderboard({("a/b", "one"): made})) == [
        "a/b: pixel metrics are over 4 of 6 defective images: the others have no mask",
        "a/b: the false-positive rate is of 12 held-out normals (validation): there are no good test images",
    ]


def test_a_rate_of_held_out_normals_is_not_averaged_with_those_of_test_images() -> None:
    other = changed(report(), image_operating_point={"false_positive_rate_from": "9 held-out normals (x)"})
    board = build_leaderboard({("a/b", "one"): report(), ("a/c", "one"): other})
    assert board.means[0].narrower["false_positive_rate"] == ("b",)
