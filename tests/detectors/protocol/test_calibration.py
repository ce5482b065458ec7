"""Which normals calibrate, and that no image ever meets itself in the bank."""

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.source import ImageSource

FULL = {"method": "none"}


def sources(
    images: list[np.ndarray], prefix: str = "train", groups: list[str] | None = None
) -> list[ImageSource]:
    return [
        ImageSource.from_array(image, name=f"{prefix}/{i:02}.png", group=groups[i] if groups else None)
        for i, image in enumerate(images)
    ]


def patchcore(**settings: object) -> Detector:
    return create_detector("vision_patchcore", embedder=CellMeans(), **{"coreset": FULL, **settings})


def test_no_image_is_scored_against_its_own_rows() -> None:
    train = sources(textures(8))
    detector = patchcore(contamination=0.1)
    state = detector.fit_state(train)
    images, source, leave_out = detector.calibration_images(state, train)
    assert (images, source, leave_out) == (train, "leave_one_image_out", True)
    against_themselves = [r.score for r in detector.respond(state, train)]
    left_out = [r.score for r in detector.respond(state, train, leave_out)]
    assert max(against_themselves) == 0
    assert min(left_out) > 0


def test_leaving_out_is_refitting_where_nothing_is_thinned() -> None:
    train = sources(textures(6))
    detector = patchcore(n_neighbors=2)
    state = detector.fit_state(train)
    for i, response in enumerate(detector.respond(state, train, leave_out=True)):
        refitted = detector.fit_state(train[:i] + train[i + 1 :])
        (expected,) = detector.respond(refitted, [train[i]])
        np.testing.assert_allclose(response.patch_grid, expected.patch_grid, rtol=1e-6)


def test_a_group_is_left_out_together() -> None:
    images = textures(6)
    train = sources(images, groups=["a", "b", "a", "c", "b", "a"])
    detector = patchcore()
    state = detector.fit_state(train)
    assert [image["group"] for image in state.facts["images"]] == ["a", "a", "a", "b", "b", "c"]
    chosen, source, leave_out = detector.calibration_images(state, train)
    assert (chosen, source, leave_out) == (train, "leave_one_group_out", True)
    for image, response in zip(train, detector.respond(state, train, leave_out=True), strict=True):
        refitted = detector.fit_state([other for other in train if other.group != image.group])
        (expected,) = detector.respond(refitted, [image])
        np.testing.assert_allclose(response.patch_grid, expected.patch_grid, rtol=1e-6)


def test_a_second_copy_of_an_image_is_not_its_own_neighbour() -> None:
    images = textures(5)
    train = sources([*images, images[0]])
    detector = patchcore()
    state = detector.fit_state(train)
    assert len(state.facts["images"]) == 5
    chosen, _, _ = detector.calibration_images(state, train)
    assert len(chosen) == 5
    assert min(r.score for r in detector.respond(state, train, leave_out=True)) > 0


def test_validation_normals_come_first_but_not_those_the_bank_holds() -> None:
    train, validation = sources(textures(4)), sources(textures(3, seed=5), "validation")
    leaked = ImageSource.from_array(textures(4)[1], name="validation/copy.png")
    detector = patchcore()
    state = detector.fit_state(train)
    chosen, source, leave_out = detector.calibration_images(state, train, [*validation, leaked])
    assert (chosen, source, leave_out) == (validation, "validation", False)
    assert detector.calibration_images(state, train, [leaked])[1] == "leave_one_image_out"


def test_normals_that_are_no_references_calibrate_few_shot_banks() -> None:
    train = sources(textures(7), groups=["a", "b", "c", "a", "d", "e", "f"])
    detector = patchcore(references={"k": 2, "seed": 0})
    state = detector.fit_state(train)
    chosen, source, leave_out = detector.calibration_images(state, train)
    assert [image.group for image in chosen] == ["c", "d", "e", "f"]  # not the second picture of part a
    assert (source, leave_out) == ("held_out", False)


def test_at_most_so_many_are_chosen_by_seed() -> None:
    train = sources(textures(12))
    chosen = []
    for seed in (0, 0, 1):
        detector = patchcore(calibration={"max_images": 5, "seed": seed})
        images, _, _ = detector.calibration_images(detector.fit_state(train), train)
        assert images == [image for image in train if image in images]
        chosen.append([image.name for image in images])
    assert len(chosen[0]) == 5
    assert chosen[0] == chosen[1] != chosen[2]


def with_an_odd_one() -> list[ImageSource]:
    """Eleven pictures of one texture, each with a little noise, and one with a spot."""
    rng, (plain,) = np.random.default_rng(9), textures(1)
    images = [plain + rng.integers(0, 9, plain.shape, np.uint8) for _ in range(12)]
    return sources([*images[:11], with_spot(images[11])])


def test_one_odd_normal_does_not_set_the_thresholds() -> None:
    train = with_an_odd_one()
    kept, lost = (patchcore(calibration={"robust": robust}).fit(train) for robust in (True, False))
    largest = np.sort(kept.decision_scores_)
    assert (kept.threshold_, lost.threshold_) == (largest[-2], largest[-1])
    for point in (kept.image_point_, kept.pixel_point_):
        assert (point.left_aside, point.n) == ((train[-1].name,), 11)
    assert kept.pixel_threshold_ < lost.pixel_threshold_ / 2
    assert lost.image_point_.left_aside == lost.pixel_point_.left_aside == ()


def test_the_scale_of_maps_is_that_of_the_other_normals() -> None:
    """Mean and spread of the normals' maps leave an odd one aside, as the pixel threshold does."""
    train = with_an_odd_one()
    maps = {"normalisation": "normal_maps"}
    kept, lost = (patchcore(calibration={"robust": robust}, maps=maps).fit(train) for robust in (True, False))
    assert kept.map_scale_ is not None
    assert lost.map_scale_ is not None
    assert kept.map_scale_.std < lost.map_scale_.std / 2


@pytest.mark.parametrize(
    ("groups", "settings", "reason"),
    [
        (["a"], {}, "single image"),
        (["a", "a", "a"], {}, "one part"),
        (["a", "b"], {"n_neighbors": 60}, "too few images"),
    ],
)
def test_where_nothing_can_calibrate_the_threshold_is_nan_with_the_reason(
    groups: list[str], settings: dict, reason: str
) -> None:
    train = sources(textures(len(groups)), groups=groups)
    detector = patchcore(**settings).fit(train)
    assert np.isnan(detector.threshold_)
    assert np.isnan(detector.pixel_threshold_)
    assert detector.image_point_.source.startswith("none: ")
    assert reason in detector.image_point_.source
    assert len(detector.decision_scores_) == 0
    fresh = textures(2, seed=9)
    with pytest.raises(RuntimeError, match=reason):
        detector.predict(fresh)
    assert np.isfinite(detector.decision_function(fresh)).all()
    assert np.isfinite(detector.predict_anomaly_map(fresh)).all()


def rates(model: str, coreset: dict) -> tuple[float, float]:
    """Share of fresh normals and of defective images above the threshold, at contamination 0.2."""
    normal, defective = [], []
    for seed in range(4):
        detector = create_detector(model, embedder=CellMeans(), coreset=coreset, contamination=0.2)
        detector.fit(textures(40, seed=seed))
        normal.append(detector.predict(textures(150, seed=1000 + seed)).mean())
        spoiled = [with_spot(image) for image in textures(40, seed=2000 + seed)]
        defective.append(detector.predict(spoiled).mean())
    return float(np.mean(normal)), float(np.mean(defective))


@pytest.mark.parametrize("model", ["vision_patchcore", "vision_anomalydino"])
@pytest.mark.parametrize(
    "coreset",
    [FULL, *({"method": method, "ratio": 0.25} for method in ("random", "density")), {"ratio": 0.1}],
    ids=lambda coreset: coreset.get("method", "greedy"),
)
def test_fresh_normals_are_flagged_about_as_often_as_was_said(model: str, coreset: dict) -> None:
    false_positives, recall = rates(model, coreset)
    assert 0.08 < false_positives < 0.32
    assert recall > 0.9
