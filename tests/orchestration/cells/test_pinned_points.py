"""A pinned threshold and a grey zone: what they recompute, where they are said, and that others stay as they were."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop, computed, defective_image, normal_image, write_image
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.inference import BundleError
from uad_orchestrator.metrics import Costs, Outcome, cheapest_threshold
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.metrics.thresholds import at_false_positive_rate
from uad_orchestrator.orchestration.cells import points_in_use
from uad_orchestrator.orchestration.cells.artifact_files import MAPS, METRICS_FILE
from uad_orchestrator.orchestration.cells.board import board_version
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.execution.refresh import RefreshResult
from uad_orchestrator.orchestration.services.cell_bundle import cell_bundle
from uad_orchestrator.orchestration.services.reports import save_report
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.postprocess.map_set import MapSet

CELL, OTHER = Cell("alpha/disc", "patchcore"), Cell("alpha/disc", "dino")
COSTS = {"false_alarm": 1, "miss": 50, "defect_rate": 0.01}
PIN = {"threshold": 0.5, "chosen_on": "test labels", "by": "anna", "at": "2026-11-27", "why": "line audit"}
SAID = "pinned by anna on 2026-11-27: line audit; chosen on test labels"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Twenty-one normals, computed, nothing pinned."""
    workshop = Workshop.build(tmp_path_factory.mktemp("points"), {"alpha": ["disc"]}, train=21)
    for i in range(4):
        write_image(workshop.home / f"data/alpha/disc/test/good/1{i}.png", normal_image(800 + i))
        faint = normal_image(900 + i)
        faint[20:24, 20:24] -= np.uint8(12 * i)
        write_image(workshop.home / f"data/alpha/disc/test/faint/{i}.png", faint)
        mask = np.zeros(defective_image(0)[1].shape, np.uint8)
        mask[20:24, 20:24] = 255
        write_image(workshop.home / f"data/alpha/disc/ground_truth/faint/{i}_mask.png", mask)
    workshop.edit(lambda values: values["detectors"].pop("bright"))
    assert not refresh(workshop).failed
    return workshop


def refresh(workshop: Workshop) -> RefreshResult:
    """The other detector is only there to stay as it is."""
    return workshop.refresh(Selection(detectors=(CELL.detector,)))


@pytest.fixture
def workshop(original: Workshop) -> Iterator[Workshop]:
    """The project as it was computed; its file is put back. What tests compute beside it does no harm."""
    before = (original.home / "uad.yaml").read_text()
    yield original
    (original.home / "uad.yaml").write_text(before)


def pin(workshop: Workshop, of: str = "image", **point: Any) -> None:
    entry = {key: value for key, value in (PIN | point).items() if value is not None}
    workshop.edit(
        lambda values: (
            values.setdefault("operating_points", {})
            .setdefault(CELL.category, {})
            .setdefault(CELL.detector, {})
            .update({of: entry})
        )
    )


def versions(workshop: Workshop, cell: Cell = CELL) -> dict[str, str]:
    state = open_state(workshop.project)
    return {asset: state.version(asset, cell) for asset in STAGES}


def run_of(workshop: Workshop, cell: Cell = CELL) -> CellRun:
    return CellRun(cell, open_state(workshop.project), open_store(workshop.project))


def report_of(workshop: Workshop) -> MetricsReport:
    directory = run_of(workshop).directory("metrics_report")
    return MetricsReport.from_json((directory / METRICS_FILE).read_bytes())


def scores_of(workshop: Workshop, role: str) -> tuple[list[float], list[int]]:
    rows = [row for row in read_scores(run_of(workshop).directory("score_table")) if row.role == role]
    return [row.score for row in rows], [row.label for row in rows]


@pytest.mark.parametrize(
    ("of", "maps", "changed"),
    [
        ("image", {}, {"metrics_report"}),
        ("pixel", {}, {"metrics_report"}),
        ("image", {"min_area": 4}, {"metrics_report"}),
        ("pixel", {"min_area": 4}, {"anomaly_maps", "metrics_report"}),
    ],
)
def test_a_pin_is_part_of_the_versions_that_it_acts_on(
    workshop: Workshop, of: str, maps: dict[str, int], changed: set[str]
) -> None:
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(maps=maps))
    before, others = versions(workshop), versions(workshop, OTHER)
    pin(workshop, of)
    after = versions(workshop)
    assert {asset for asset in STAGES if before[asset] != after[asset]} == changed
    assert versions(workshop, OTHER) == others
    pin(workshop, of, why="another reason")
    assert versions(workshop)["metrics_report"] != after["metrics_report"], "its source says why"
    workshop.edit(lambda values: values.pop("operating_points"))
    assert versions(workshop) == before


def test_costs_are_part_of_the_board_alone(workshop: Workshop) -> None:
    before, board = (
        versions(workshop),
        board_version(open_state(workshop.project), open_store(workshop.project)),
    )
    workshop.edit(lambda values: values.update(costs=COSTS))
    assert versions(workshop) == before
    assert ("metrics_report", "patchcore") not in {
        (node.asset, node.detector) for node in workshop.plan().stale
    }
    assert board_version(open_state(workshop.project), open_store(workshop.project)) != board


def test_a_pinned_cell_is_measured_again_and_nothing_is_scored(workshop: Workshop) -> None:
    pin(workshop)
    workshop.edit(lambda values: values.update(costs=COSTS))
    plan = workshop.plan()
    stale = {node.asset: node.reasons for node in plan.stale if node.detector != OTHER.detector}
    assert stale["metrics_report"] == (f"image threshold {SAID}",)
    assert set(stale) == {"metrics_report", "leaderboard"}
    result = refresh(workshop)
    assert computed(result) == {("metrics_report", CELL.category, "patchcore")} and not result.failed
    assert result.embedded_images == 0

    point = report_of(workshop).image_operating_point
    expected = Outcome.of(*scores_of(workshop, "test"), 0.5)
    assert (point.threshold, point.source) == (0.5, SAID)
    assert point.pinned is not None and point.pinned.on_test_labels
    assert point.false_positive_rate == expected.false_alarm_rate
    assert point.recall == pytest.approx(1 - expected.miss_rate)
    assert point.guaranteed_rate is None and "pinned" in point.reasons["guaranteed_rate"]
    assert report_of(workshop).counts.n_calibration == 21

    board = json.loads(uad("leaderboard", "--home", workshop.home, "--json").stdout)
    row = next(row for row in board["rows"] if row["detector"] == "patchcore")
    cost = Costs(**COSTS).expected(expected.false_alarm_rate, expected.miss_rate)
    assert (row["threshold_source"], row["expected_cost"]) == (SAID, pytest.approx(cost))
    ranked = json.loads(uad("leaderboard", "--home", workshop.home, "--sort", "cost", "--json").stdout)[
        "rows"
    ]
    assert [row["detector"] for row in ranked] == ["patchcore", "dino"]
    assert [row["detector"] for row in board["rows"]] == ["dino", "patchcore"]

    why = uad("why", "metrics_report", CELL.category, CELL.detector, "--home", workshop.home)
    assert f"image threshold {SAID}" in why.stdout
    since = uad(
        "why", "metrics_report", CELL.category, CELL.detector, "--since", "previous", "--home", workshop.home
    )
    assert f"image threshold {SAID}" in since.stdout.splitlines()[0]

    bundle = cell_bundle(run_of(workshop))
    assert (bundle.calibration.image_point.threshold, bundle.calibration.image_point.source) == (0.5, SAID)
    assert "The image threshold was " + SAID in bundle.documents["MODEL_CARD.md"]
    assert cell_bundle(run_of(workshop), 0.2).calibration.image_point.pinned is None

    workshop.edit(lambda values: (values.pop("operating_points"), values.pop("costs")))
    assert run_of(workshop).store.holds(run_of(workshop).key("metrics_report")), (
        "what was measured before is there"
    )


def test_a_rate_is_taken_from_the_normals_as_they_are(workshop: Workshop) -> None:
    pin(workshop, threshold=None, fpr=0.2, chosen_on="normals")
    point = points_in_use.image_point(run_of(workshop))
    plain = at_false_positive_rate(
        scores_of(workshop, "calibration")[0], 0.2, "leave_one_image_out, refilled"
    )
    assert point.threshold == plain.threshold and point.guaranteed_rate == plain.guaranteed_rate
    pin(workshop, threshold=None, fpr=0.01, chosen_on="normals")
    assert "99 or more are needed" in points_in_use.image_point(run_of(workshop)).reason


def test_the_maxima_of_maps_are_read_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(workshop)
    rows = read_scores(run.directory("score_table"))
    found = points_in_use.map_maxima(run, rows)
    maps = MapSet(run.directory("anomaly_maps") / MAPS)
    tested = [row for row in rows if row.role == "test"]
    assert found == {row.image: float(maps.read(row.image, row.defect_type).max()) for row in tested}
    monkeypatch.delattr(MapSet, "read")
    assert points_in_use.map_maxima(run, rows) == found


def test_a_grey_zone_is_measured(workshop: Workshop) -> None:
    before = versions(workshop)
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(review={"from_fpr": 0.3}))
    changed = {asset for asset, version in versions(workshop).items() if before[asset] != version}
    assert changed == {"metrics_report"}
    (words,) = (
        node.reasons
        for node in workshop.plan().stale
        if (node.asset, node.detector) == ("metrics_report", CELL.detector)
    )
    assert words[-1] == "review changed: from_fpr absent -> 0.3"
    assert refresh(workshop).embedded_images == 0
    review = report_of(workshop).review
    threshold = report_of(workshop).image_operating_point.threshold
    scores, labels = scores_of(workshop, "test")
    normals = [score for score, label in zip(scores, labels, strict=True) if label == 0]
    assert review is not None and review.threshold is not None and threshold is not None
    assert review.share_in_review == np.mean([review.threshold < score <= threshold for score in normals])
    board = json.loads(uad("leaderboard", "--home", workshop.home, "--json").stdout)["rows"]
    shown = {row["detector"]: (row["review_threshold"], row["share_in_review"]) for row in board}
    assert shown == {"patchcore": (review.threshold, review.share_in_review), "dino": (None, None)}

    calibration = cell_bundle(run_of(workshop)).calibration
    assert calibration.review_threshold == review.threshold
    page = save_report(workshop.project, workshop.home / "report.html").read_text()
    told = next(
        json.loads(data) for data in re.findall(r'json">(.*?)</script>', page) if '"patchcore"' in data
    )
    assert told["image"] == {"values": scores, "threshold": threshold, "review": review.threshold}
    rows = read_scores(run_of(workshop).directory("score_table"))
    assert told["pixel"]["values"] == list(points_in_use.map_maxima(run_of(workshop), rows).values())
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(review={"from_fpr": 0.06}))
    with pytest.raises(BundleError, match="no grey zone: review would begin at"):
        cell_bundle(run_of(workshop))

    pin(workshop, threshold=-1.0)
    begin = points_in_use.review_point(run_of(workshop))
    assert (
        begin is not None and math.isnan(begin.threshold) and "not below the image threshold" in begin.reason
    )


def test_a_pinned_value_that_does_not_fit_the_scores_is_said(workshop: Workshop) -> None:
    uad("threshold", "disc", "patchcore", "--value", "1e-9", "--by", "anna", "--home", workshop.home)
    pinned = workshop.project.pins(CELL.category, CELL.detector).image
    assert pinned is not None and pinned.scores is not None
    pin(workshop, threshold=1e-9, scores=pinned.scores)
    pin(workshop, of="pixel", threshold=1e9, scores="0" * 12)
    found = {warning.check: warning.message for warning in refresh(workshop).warnings}
    assert "21 of 21 calibration normals and" in found["false_positive_rate"]
    assert "image threshold" not in found["pinned_points"], "its scores are those it was chosen for"
    assert "the pixel threshold: 1e+09" in found["pinned_points"]
    assert "settings of the scores were others" in found["pinned_points"]
    assert "no pixel of a defect lies above 1e+09" in found["pinned_points"]

    state = open_state(workshop.project)
    reads = state.reads("score_table", CELL) | state.reads("anomaly_maps", CELL)
    assert points_in_use.scores_digest(reads, "image") == pinned.scores
    for name, concerned in {
        "memory_bank": {"image", "pixel"},
        "map_settings": {"pixel"},
        "test_images": set(),
    }.items():
        other = reads | {name: "another"}
        changed = {
            of
            for of in ("image", "pixel")
            if points_in_use.scores_digest(other, of) != points_in_use.scores_digest(reads, of)
        }
        assert changed == concerned, name


class TestCommand:
    """``uad threshold``."""

    def choose(self, workshop: Workshop, *options: object) -> dict[str, Any]:
        found = uad("threshold", "disc", "patchcore", "--home", workshop.home, "--json", *map(str, options))
        assert found.exit_code == 0, found.stderr
        return json.loads(found.stdout)

    def test_a_value_is_shown_and_pinned(self, workshop: Workshop) -> None:
        workshop.edit(lambda values: values.update(costs=COSTS))
        text = (workshop.home / "uad.yaml").read_text()
        shown = self.choose(workshop, "--value", 0.5, "--by", "anna", "--dry-run")
        assert not shown["written"] and (workshop.home / "uad.yaml").read_text() == text
        told = self.choose(workshop, "--value", 0.5, "--by", "anna", "--why", "line audit")
        assert {**told, "written": False, "pin": 0, "after": 0} == {**shown, "pin": 0, "after": 0}
        (pinned,) = workshop.project.operating_points[CELL.category].values()
        assert pinned.image is not None and (pinned.image.threshold, pinned.image.by) == (0.5, "anna")
        assert pinned.image.chosen_on is None and pinned.image.why == "line audit"
        assert (
            self.choose(workshop, "--value", 0.5, "--test-labels", "--dry-run")["pin"]["chosen_on"]
            == "test labels"
        )
        scores, labels = scores_of(workshop, "test")
        outcome = Outcome.of(scores, labels, 0.5)
        assert (told["after"]["misses"]["count"], told["after"]["false_alarms"]["count"]) == (
            outcome.misses,
            outcome.false_alarms,
        )
        assert told["after"]["false_alarms"]["per_1000_parts"] == pytest.approx(
            990 * outcome.false_alarm_rate
        )
        was = told["before"]["point"]["threshold"]
        assert len(told["changed"]["above"]) == sum(0.5 < score <= was for score in scores)
        assert len(told["changed"]["below"]) == sum(was < score <= 0.5 for score in scores)
        back = self.choose(workshop, "--clear")
        assert back["after"]["point"]["threshold"] == was and not workshop.project.operating_points

    def test_the_cheapest_is_marked_as_chosen_on_test_labels(self, workshop: Workshop) -> None:
        refused = uad("threshold", "disc", "patchcore", "--cost", "--home", workshop.home)
        assert refused.exit_code == 1 and "costs: {false_alarm" in refused.stderr
        workshop.edit(lambda values: values.update(costs=COSTS))
        found = self.choose(workshop, "--cost", "--by", "anna")
        expected = cheapest_threshold(*scores_of(workshop, "test"), Costs(**COSTS))
        assert found["pin"]["threshold"] == expected and found["pin"]["chosen_on"] == "test labels"
        assert found["after"]["point"]["source"].endswith("; chosen on test labels")
        assert found["after"]["expected_cost"] <= found["before"]["expected_cost"]

    def test_a_rate_that_the_normals_cannot_support_is_refused(self, workshop: Workshop) -> None:
        text = (workshop.home / "uad.yaml").read_text()
        refused = uad("threshold", "disc", "patchcore", "--fpr", "0.01", "--home", workshop.home)
        assert refused.exit_code == 1
        assert (
            "21 normals cannot support a false-positive rate of 1 %: 99 or more are needed" in refused.stderr
        )
        assert (workshop.home / "uad.yaml").read_text() == text
        found = self.choose(workshop, "--fpr", 0.1)
        assert found["pin"]["fpr"] == 0.1 and found["pin"]["chosen_on"] == "normals"

    def test_the_pixel_threshold_is_chosen_by_the_maxima_of_maps(self, workshop: Workshop) -> None:
        workshop.edit(lambda values: values.update(costs=COSTS))
        found = self.choose(workshop, "--fpr", 0.2, "--pixel")
        run = run_of(workshop)
        rows = [row for row in read_scores(run.directory("score_table")) if row.role == "test"]
        maxima = points_in_use.map_maxima(run, rows)
        outcome = Outcome.of(
            [maxima[row.image] for row in rows],
            [row.label for row in rows],
            found["after"]["point"]["threshold"],
        )
        assert found["of"] == "pixel" and found["after"]["misses"]["count"] == outcome.misses
        assert points_in_use.pixel_point(run).threshold == found["after"]["point"]["threshold"]
        assert points_in_use.calibration_maxima(run) == pytest.approx(
            points_in_use.normal_maxima(run, None, points_in_use.pixel_point(run))
        )

    def test_it_says_in_words_what_it_would_do(self, workshop: Workshop) -> None:
        found = uad(
            "threshold", CELL.category, "patchcore", "--value", "0.5", "--dry-run", "--home", workshop.home
        )
        assert "false alarms:" in found.stdout and "misses:" in found.stdout
        assert "nothing was written" in found.stderr
        all_above = uad("threshold", "disc", "patchcore", "--value=-1", "--dry-run", "--home", workshop.home)
        assert " to 100 %)" in all_above.stdout
        cleared = uad("threshold", "disc", "patchcore", "--clear", "--home", workshop.home)
        assert "no image threshold is pinned for alpha/disc x patchcore" in cleared.stderr

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ([], "one of --fpr"),
            (["--value", "1", "--cost"], "one of --fpr"),
            (["--fpr", "0.7"], "--fpr is 0.7: Input should be less than 0.5"),
            (["--value", "nan"], "--value is nan"),
            (["--value", "1", "--why", "a\nb"], "on one line"),
            (["--value", "1", "--by", " "], "--by is ' '"),
            (["--clear", "--why", "enough"], "--why, --by and --test-labels have no place"),
        ],
    )
    def test_wrong_usage(self, workshop: Workshop, options: list[str], said: str) -> None:
        found = uad("threshold", "disc", "patchcore", *options, "--home", workshop.home)
        assert found.exit_code == 2 and said in found.stderr

    def test_one_without_a_name_has_to_give_it(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: {}["uid not found"])
        found = uad("threshold", "disc", "patchcore", "--value", "1", "--home", workshop.home)
        assert found.exit_code == 2 and "--by NAME" in found.stderr
        self.choose(workshop, "--value", 1, "--by", "anna", "--dry-run")

    def test_names_that_there_are_not(self, workshop: Workshop) -> None:
        found = uad("threshold", "disk", "patchcore", "--value", "1", "--home", workshop.home)
        assert found.exit_code == 2 and "disc" in found.stderr
        found = uad("leaderboard", "--sort", "image_auric", "--home", workshop.home)
        assert found.exit_code == 2 and "image_auroc" in found.stderr
        assert "costs:" in uad("leaderboard", "--sort", "cost", "--home", workshop.home).stderr


def test_a_home_without_points_has_the_recipes_it_had(workshop: Workshop) -> None:
    state = open_state(workshop.project)
    assert [state.chosen(asset, CELL) for asset in STAGES] == [{}] * 4
    provenance = run_of(workshop).provenance("metrics_report")
    assert set(provenance.settings) == {"evaluation_protocol"}
