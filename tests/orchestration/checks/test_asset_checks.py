"""Asset checks: what they find, and that one partition's pass never hides another's failure."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import pytest

from tests.orchestration.workshop import Workshop, write_category, write_image
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.detectors.protocol.scoring import ScoreRow
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.metrics.thresholds import calibrate, pinned_point
from uad_orchestrator.metrics.thresholds.operating_point import OPTIMISTIC, Pin
from uad_orchestrator.orchestration.cells.findings import dataset_rules, figure_rules, threshold_rules
from uad_orchestrator.orchestration.checks.asset_checks import CHECKS, Subject, verdict_of
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.dagster_instance.names import asset_key
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

CELL = "alpha/disc|patchcore"


@pytest.fixture
def category(tmp_path: Path) -> Path:
    write_category(tmp_path / "disc", seed=0)
    return tmp_path / "disc"


def manifest(category: Path) -> Manifest:
    return load_dataset("mvtec_ad", category.parent, category.name)


def rows(role: str, scores: list[float], label: int = 0) -> list[ScoreRow]:
    region = Region(0.0, 0.0, 8.0, 8.0)
    return [
        ScoreRow(f"{role}{n}.png", role, label, "good", score, (1, 1), region, (8, 8), (8, 8), 0.01)  # type: ignore[arg-type]
        for n, score in enumerate(scores)
    ]


def test_a_sound_category_passes(category: Path) -> None:
    found = manifest(category)
    for rule in (
        dataset_rules.images_decodable,
        dataset_rules.masks_match,
        dataset_rules.no_test_image_in_training,
    ):
        assert rule(found).passed


def test_damage_in_the_middle_of_an_image_is_found(category: Path) -> None:
    path = category / "train/good/000.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(bytes(data))
    verdict = dataset_rules.images_decodable(manifest(category))
    assert (verdict.passed, verdict.is_error) == (False, True)
    assert "train/good/000.png" in verdict.said


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((64, 64), np.uint8), "empty: it shows no defect"),
        (np.full((32, 32), 255, np.uint8), "32 x 32"),
    ],
    ids=["empty", "other size"],
)
def test_a_mask_that_does_not_match_is_found(category: Path, mask: np.ndarray, said: str) -> None:
    write_image(category / "ground_truth/scratch/000_mask.png", mask)
    verdict = dataset_rules.masks_match(manifest(category))
    assert not verdict.passed
    assert said in verdict.said
    assert "000_mask.png" in verdict.said


def test_a_training_image_among_the_test_images_is_found(category: Path) -> None:
    (category / "test/good/copy.png").write_bytes((category / "train/good/003.png").read_bytes())
    verdict = dataset_rules.no_test_image_in_training(manifest(category))
    assert not verdict.passed
    assert "test/good/copy.png" in verdict.said
    assert "train/good/003.png" in verdict.said


def test_thresholds_from_normals_the_checkpoint_may_have_seen_are_found() -> None:
    optimistic = calibrate([0.1] * 30, 0.05, OPTIMISTIC)
    bank, network = (threshold_rules.calibrated_on_unseen(optimistic, holds) for holds in (True, False))
    assert (bank.passed, bank.is_error) == (False, True)
    assert (network.passed, network.is_error) == (False, False)
    few = calibrate([0.1] * 3, 0.05, OPTIMISTIC)
    assert not threshold_rules.calibrated_on_unseen(few, True).passed
    assert threshold_rules.calibrated_on_unseen(calibrate([0.1] * 30, 0.05, "validation"), True).passed


SCORES = [0.31, 0.36, 0.35, 0.33, 0.4, 0.38, 0.34, 0.32, 0.37]


@pytest.mark.parametrize(
    ("scores", "robust", "said"),
    [
        ([*SCORES, 12.0], True, "left aside for the threshold"),
        ([*SCORES, 12.0], False, "it counts"),
        ([0.3, 0.35, 2.0], True, "one image sets the threshold"),
    ],
)
def test_an_odd_normal_is_named_whether_it_counts_or_not(
    scores: list[float], robust: bool, said: str
) -> None:
    table = rows("calibration", scores) + rows("test", [0.3, 9.0])
    names = [row.image for row in table if row.role == "calibration"]
    point = calibrate(scores, 0.1, "validation", robust=robust, names=names)
    verdict = threshold_rules.odd_normals(table, point)
    assert (verdict.passed, verdict.is_error, verdict.images) == (False, False, (names[-1],))
    assert said in verdict.said
    assert names[-1] in verdict.said
    assert threshold_rules.false_positive_rate(table, point, 0.01).passed, "what was left aside may lie above"


def test_ordinary_normals_pass_and_an_odd_map_is_named() -> None:
    table = rows("calibration", SCORES)
    point = calibrate(SCORES, 0.1, "validation", robust=True)
    assert threshold_rules.odd_normals(table, point).passed
    assert threshold_rules.odd_normals(table, point, point).passed
    verdict = threshold_rules.odd_normals(table, point, replace(point, left_aside=("calibration3.png",)))
    assert (verdict.passed, verdict.images) == (False, ("calibration3.png",))


def test_constant_and_infinite_scores_are_found() -> None:
    assert figure_rules.scores_usable(rows("test", [0.1, 0.2])).passed
    assert not figure_rules.scores_usable(rows("test", [0.5, 0.5, 0.5])).passed
    assert not figure_rules.scores_usable(rows("test", [0.1, math.inf])).passed


def test_a_pinned_value_fails_where_half_of_the_normals_lie_above_it() -> None:
    table = rows("calibration", [0.1, 0.2, 0.3]) + rows("test", [0.25, 0.4])
    for value, passed, said in (
        (0.25, True, "1 of 3 calibration normals and 1 of 2 normal test images"),
        (0.24, False, "1 of 3 calibration normals and 2 of 2 normal test images"),
    ):
        pin = Pin(threshold=value, by="anna", at=date(2026, 11, 27))
        point = pinned_point(pin, calibrate([0.1, 0.2, 0.3], 0.25, "validation"))
        verdict = threshold_rules.false_positive_rate(table, point, 0.01)
        assert verdict.passed == passed and said in verdict.said and not verdict.is_error


def test_false_positives_by_chance_pass_and_too_many_fail() -> None:
    calibration = list(np.linspace(0, 1, 99))
    point = calibrate(calibration, 0.1, "validation")
    for above, passes in ((10, True), (16, True), (40, False), (100, False)):
        tested = rows("test", [2.0] * above + [0.0] * (100 - above))
        verdict = threshold_rules.false_positive_rate(rows("calibration", calibration) + tested, point, 0.01)
        assert verdict.passed == passes, (above, verdict.said)
        assert not verdict.is_error


def test_too_few_false_positives_fail_too_and_say_what_was_expected() -> None:
    calibration = list(np.linspace(0, 1, 99))
    point = calibrate(calibration, 0.1, "validation")
    for tested, above, passes in ((20, 0, True), (100, 3, True), (100, 1, False), (300, 0, False)):
        table = rows("calibration", calibration) + rows("test", [2.0] * above + [0.0] * (tested - above))
        verdict = threshold_rules.false_positive_rate(table, point, 0.01)
        assert (verdict.passed, verdict.is_error) == (passes, False), (above, verdict.said)
        assert ("The threshold is too high" in verdict.said) != passes
    assert verdict.said.startswith(
        "0 of 300 normal test images lie above the threshold, 10 to 58 are expected"
    )
    assert verdict.images == ()


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_whatever_the_level_some_count_is_expected(level: float) -> None:
    """Of 20 of 20 normals none has exactly the probability 1/2, and one or more, too."""
    point = calibrate(range(20), 0.01, "validation")
    for above, passes in ((0, True), (1, True), (2, False)):
        table = rows("calibration", range(20)) + rows("test", [30.0] * above + [0.0] * (20 - above))
        verdict = threshold_rules.false_positive_rate(table, point, level)
        assert (verdict.passed, "0 to 1 are expected" in verdict.said) == (passes, True)


@pytest.mark.parametrize(("n", "contamination"), [(12, 0.05), (30, 0.05), (99, 0.1), (200, 0.02)])
def test_honest_cells_are_flagged_as_rarely_as_the_level_says(n: int, contamination: float) -> None:
    """Calibration and test scores are drawn alike; each side is flagged in one of a hundred cells at most."""
    rng, level, cells = np.random.default_rng(n), 0.01, 4000
    point = calibrate(np.sort(rng.random(n)), contamination, "validation")
    for tested in (5, 40, 400):
        rates = rng.beta(n + 1 - point.place, point.place, cells)  # of the r-th smallest of n
        counts, many = np.unique(rng.binomial(tested, rates), return_counts=True)
        flagged = {"many": 0, "few": 0}
        for above, times in zip(counts.tolist(), many.tolist(), strict=True):
            scores = [2.0] * above + [-1.0] * (tested - above)
            verdict = threshold_rules.false_positive_rate(rows("test", scores), point, level)
            if not verdict.passed:
                flagged["few" if "so few by chance" in verdict.said else "many"] += times
        assert max(flagged.values()) <= cells * level + 4 * math.sqrt(cells * level), (tested, flagged)


def test_normals_too_few_for_the_contamination_are_said_with_what_they_support() -> None:
    few = calibrate(range(12), 0.05, "leave_one_image_out")
    verdict = threshold_rules.enough_normals(few)
    assert (verdict.passed, verdict.is_error) == (False, False)
    assert verdict.said == (
        "contamination 0.05 is asked for, 0.077 is guaranteed: 12 normals set the threshold, 19 are needed "
        "(with 95% confidence the rate is at most 0.22). Add normals, or ask for what they support: "
        "contamination 0.077"
    )
    assert threshold_rules.enough_normals(calibrate(range(12), 0.077, "validation")).passed
    assert (
        "contamination 0"
        not in threshold_rules.enough_normals(calibrate([1.0], 0.05, "validation")).said[60:]
    )
    many = threshold_rules.enough_normals(calibrate(range(200), 0.002, "validation")).said
    assert "Add normals, with `calibration: {max_images: 499}`, or ask for" in many
    groups = threshold_rules.enough_normals(
        calibrate(range(12), 0.05, "leave_one_group_out", largest_group=6)
    )
    assert "0.33 is guaranteed for an image of a new group: 12 normals" in groups.said
    assert "19 at least are needed" in groups.said
    assert groups.said.endswith("Add groups"), "no contamination is supported"
    enough = calibrate(range(19), 0.05, "validation")
    assert threshold_rules.enough_normals(enough).passed
    assert threshold_rules.enough_normals(enough, few).said.startswith("of map pixels: contamination 0.05")
    for silent in (calibrate([], 0.05, "none: one image"), calibrate(range(3), 0.05, OPTIMISTIC)):
        assert threshold_rules.enough_normals(silent).passed, "said by other checks already"


def test_a_map_that_alone_sets_the_pixel_threshold_is_named() -> None:
    names = [f"train/good/{i}.png" for i in range(4)]
    point = calibrate([1.0, 1.1, 5.0, 1.2], 0.1, "validation", names=names)
    assert point.set_by == names[2]
    assert point.source.endswith("; set by one image, train/good/2.png: the next has 1.2")
    assert point.origin == "validation"
    verdict = threshold_rules.odd_maps(point)
    assert (verdict.passed, verdict.is_error, verdict.images) == (False, False, (names[2],))
    calm = calibrate([1.0, 1.1, 1.3, 1.2], 0.1, "validation", names=names)
    assert threshold_rules.odd_maps(calm).passed and calm.set_by is None
    assert calibrate([1.0] * 30 + [5.0], 0.2, "validation").set_by is None, "the threshold lies below it"
    assert calibrate([0.0, 0.0, 5.0, 0.0], 0.1, "validation", names=names).set_by == names[2], (
        "copies score 0"
    )
    assert calibrate([0.0] * 4, 0.1, "validation", names=names).set_by is None
    table = rows("calibration", SCORES)
    of_images = calibrate(SCORES, 0.1, "validation")
    assert threshold_rules.odd_normals(table, of_images, point).images == (names[2],)


def test_a_threshold_of_other_scores_is_an_error() -> None:
    calibration = list(np.linspace(0, 1, 99))
    point = replace(calibrate(calibration, 0.1, "validation"), threshold=0.5)
    verdict = threshold_rules.false_positive_rate(rows("calibration", calibration), point, 0.01)
    assert (verdict.passed, verdict.is_error) == (False, True)


def test_no_threshold_is_no_failure() -> None:
    point = calibrate([], 0.1, "none: one reference image")
    assert threshold_rules.false_positive_rate(rows("test", [1.0]), point, 0.01).passed


def test_a_fallen_and_a_lost_metric_are_found() -> None:
    before = {"image_auroc": 0.98, "pixel_auroc": 0.9, "gone": 0.5}
    assert figure_rules.metrics_kept(before, {"image_auroc": 0.97, "pixel_auroc": 0.95}, 0.02).passed
    verdict = figure_rules.metrics_kept(before, {"image_auroc": 0.95, "pixel_auroc": None}, 0.02)
    assert not verdict.passed
    assert "image_auroc 0.9800 -> 0.9500" in verdict.said
    assert "pixel_auroc 0.9000 -> undefined" in verdict.said


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One detector on two categories; one of them tests a training image."""
    built = Workshop.build(tmp_path_factory.mktemp("grid"), {"alpha": ["disc", "ring"]})
    built.edit(lambda values: values.update(detectors={"patchcore": values["detectors"]["patchcore"]}))
    data = built.home / "data/alpha/ring"
    (data / "test/good/copy.png").write_bytes((data / "train/good/000.png").read_bytes())
    assert not built.refresh().failed
    return built


def evaluations(workshop: Workshop, asset: str, partition: str) -> dict[str, dg.AssetCheckEvaluation]:
    """What a click on the asset evaluates; the project's own results."""
    definitions = build_definitions(workshop.project)
    with open_instance(workshop.project) as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            partition_key=partition,
            asset_selection=[asset_key(workshop.project, asset)],
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def test_a_click_on_an_asset_runs_its_checks_for_its_partition(workshop: Workshop) -> None:
    sound = evaluations(workshop, "dataset_category", "alpha/disc")
    leaky = evaluations(workshop, "dataset_category", "alpha/ring")
    assert {name: found.passed for name, found in sound.items()} == dict.fromkeys(sound, True)
    assert {name for name, found in leaky.items() if not found.passed} == {"no_test_image_in_training"}
    assert {found.partition for found in leaky.values()} == {"alpha/ring"}
    # in the other order the pass would be the latest; each partition keeps its own
    again = evaluations(workshop, "dataset_category", "alpha/disc")
    assert again["no_test_image_in_training"].passed
    with open_instance(workshop.project) as instance:
        status = instance.event_log_storage.get_asset_check_partition_info(
            [dg.AssetCheckKey(asset_key(workshop.project, "dataset_category"), "no_test_image_in_training")]
        )
        assert {found.partition_key for found in status} == {"alpha/disc", "alpha/ring"}


def test_a_refresh_runs_no_checks(workshop: Workshop) -> None:
    with open_instance(workshop.project) as instance:
        for run in instance.get_runs(dg.RunsFilter(job_name="cell")):
            kinds = {
                record.dagster_event.event_type
                for record in instance.all_logs(run.run_id)
                if record.dagster_event
            }
            assert dg.DagsterEventType.ASSET_MATERIALIZATION in kinds
            assert dg.DagsterEventType.ASSET_CHECK_EVALUATION not in kinds


def test_a_version_with_worse_metrics_fails_and_says_what_changed(workshop: Workshop) -> None:
    def check() -> dict[str, bool]:
        found = evaluations(workshop, "metrics_report", CELL)
        return {name: evaluation.passed for name, evaluation in found.items()}

    others = {"pinned_points": True}
    assert check() == {"metrics_kept": True, **others}  # there is none before
    path = workshop.home / "data/alpha/disc/ground_truth/scratch/000_mask.png"
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    write_image(path, 255 - mask)
    workshop.refresh()
    assert check() == {"metrics_kept": False, **others}
    write_image(path, mask)
    workshop.refresh()
    assert check() == {"metrics_kept": True, **others}  # back to the better one


def test_every_check_has_partitions_and_words(workshop: Workshop) -> None:
    specs = [
        spec
        for checks in build_definitions(workshop.project).asset_checks or []
        for spec in checks.check_specs  # type: ignore[union-attr]
    ]
    assert {spec.asset_key.path[-1] for spec in specs} >= set(CHECKS)
    assert all(spec.partitions_def is not None and spec.description for spec in specs)
    of_a_refresh = [spec for spec in specs if spec.asset_key.path[-1] in CHECKS]
    assert all("uad refresh" in (spec.description or "") for spec in of_a_refresh), "why it is not evaluated"


def test_an_unreadable_dataset_fails_its_checks(workshop: Workshop) -> None:
    with open_instance(workshop.project) as instance:
        subject = Subject(
            "dataset_category",
            "alpha/nowhere",
            instance,
            open_state(workshop.project),
            open_store(workshop.project),
        )
        for judge in CHECKS["dataset_category"]:
            verdict = verdict_of(judge, subject)
            assert (verdict.passed, verdict.is_error) == (False, True)
            assert "nowhere" in verdict.said
