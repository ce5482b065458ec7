"""Presets that resize or leave a part out: maps land on the original image, banks hold what is inspected."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.bank.bank import Bank
from uad_orchestrator.detectors.bank.object_mask import object_mask
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.registry import DETECTORS
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.augmentation import Augmentation, AugmentSettings
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

RIGHT_HALF = {"roi": {"left": 0.5}}
RESIZES = [
    None,
    {"resize": {"method": "scale", "factor": 0.5}},
    {"resize": {"method": "squash", "height": 64, "width": 64}},
    {"resize": {"method": "shorter_edge", "pixels": 96}},
]


def preset(*steps: object) -> Preset:
    return Preset("test", tuple(parse_step(step) for step in steps))


def patchcore(*steps: object, **settings: object) -> Detector:
    settings = {"coreset": {"method": "none"}, "contamination": 0.2, "maps": {"gaussian_sigma": 0}} | settings
    embedder = settings.pop("embedder", None) or CellMeans()
    return create_detector("vision_patchcore", embedder=embedder, preset=preset(*steps), **settings)


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i}.png") for i, image in enumerate(images)]


@pytest.mark.parametrize("resize", RESIZES, ids=str)
def test_a_spot_lights_up_where_it_is_whatever_the_preset_does_to_the_size(resize: object) -> None:
    steps = [] if resize is None else [resize]
    images = textures(6, size=(64, 128))
    detector = patchcore(*steps).fit(images)
    found = detector.get_anomaly_map(with_spot(images[0], top=16, left=96))
    assert found.shape == (64, 128)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert abs(y - 19.5) <= 8 and abs(x - 99.5) <= 8
    mass = np.where(found > found.max() / 2, found, 0)
    centre = [
        float((mass.sum(axis=1 - axis) * np.arange(n)).sum() / mass.sum())
        for axis, n in enumerate(found.shape)
    ]
    assert centre == pytest.approx([19.5, 99.5], abs=6)


def test_the_region_of_a_resized_image_is_the_original_ones(tmp_path: Path) -> None:
    stream = open_stream(
        CellMeans(), preset=preset({"resize": {"factor": 0.5}}), cache=EmbeddingCache(tmp_path)
    )
    for _ in range(2):  # embedded, then from the cache
        (embedded,) = stream.stream(sources(textures(1, size=(64, 128))))
        assert embedded.embedding.region == Region(0, 0, 64, 128)
        assert embedded.embedding.original_size == (64, 128)
        assert embedded.embedding.input_size == (32, 64)
        assert embedded.embedding.grid_shape == (4, 8)


def test_patches_at_least_half_inside_are_inspected() -> None:
    columns = {"roi": {"left": 12, "right": 29, "top": 0, "bottom": 48, "unit": "pixels"}}  # 8-pixel cells
    (embedded,) = open_stream(CellMeans(), preset=preset(columns)).stream(sources(textures(1)))
    inspected = embedded.embedding.inspected.reshape(6, 8)
    assert np.flatnonzero(inspected[0]).tolist() == [1, 2, 3]
    assert (inspected == inspected[0]).all()


def test_what_lies_outside_is_neither_fitted_nor_scored() -> None:
    images = textures(6, size=(48, 64))
    detector = patchcore(RIGHT_HALF).fit(images)
    halves = patchcore().fit([image[:, 32:] for image in images])
    assert np.array_equal(detector.state_.arrays["bank"], halves.state_.arrays["bank"])
    assert detector.threshold_ == halves.threshold_, "leave-one-out knows whose rows are whose"
    spoiled = with_spot(images[0], top=16, left=8)
    assert detector.decision_function([spoiled]) == detector.decision_function([images[0]]) == 0
    found = detector.get_anomaly_map(spoiled)
    assert found.shape == (48, 64) and np.isfinite(found).all()
    inside = with_spot(images[0], top=16, left=40)
    assert detector.decision_function([inside]) == halves.decision_function([inside[:, 32:]]) > 0
    found = detector.get_anomaly_map(inside)
    assert found[:, :28].max() == found.min(), "outside takes the lowest score"


def test_each_images_rows_are_its_own_behind_a_region() -> None:
    images = sources(textures(4))
    augment = AugmentSettings(copies=2, rotation=20, noise=0.05)
    views = [PLAIN, *(View(augmentation=Augmentation(augment, i)) for i in range(2))]
    detector = patchcore(RIGHT_HALF, augment=augment)
    bank = Bank(detector.fit_state(images))
    spans = [bank.rows_of(image) for image in images]
    assert spans[0].start == 0 and spans[-1].stop == len(bank.nearest.bank)
    assert all(a.stop == b.start for a, b in pairwise(spans))
    for image, span in zip(images, spans, strict=True):
        rows = [next(detector.stream.stream([image], view=view)).embedding.inspected_rows for view in views]
        assert np.array_equal(bank.nearest.bank[span], np.concatenate(rows))


def test_a_turned_view_inspects_what_turned_into_it() -> None:
    """Pixels outside are white: no white patch is fitted, however the image is turned."""
    images = [image.copy() for image in textures(3, size=(64, 64))]
    for image in images:
        image[:, :32] = 255
    turned = create_detector(
        "vision_anomalydino",
        embedder=CellMeans(4),
        preset=preset({"roi": {"left": 0.56}}),
        rotation=(90.0, 180.0),
    )
    bank = turned.fit_state(sources(images)).arrays["bank"]
    assert len(bank) == 3 * 3 * 16 * 7
    means = bank[:, :3] / bank[:, :3].max(axis=1, keepdims=True)
    white = (bank[:, 3:] == 0).all(axis=1) & (means.min(axis=1) > 0.999)
    assert not white.any()


def test_a_region_that_does_not_fit_names_the_image() -> None:
    far = {"roi": {"bottom": 100, "right": 100, "unit": "pixels"}}
    with pytest.raises(ValueError, match=r"0\.png: the roi reaches"):
        patchcore(far).fit_state(sources(textures(2)))
    tiny = {"roi": {"bottom": 2, "right": 2, "unit": "pixels"}}
    with pytest.raises(ValueError, match=r"0\.png: no patch of its \(6, 8\) grid"):
        patchcore(tiny).fit_state(sources(textures(2)))


def test_another_region_embeds_nothing_again(tmp_path: Path, embedder: CellMeans) -> None:
    images = sources(textures(3))
    for region in (None, RIGHT_HALF, {"roi": {"top": 0.5}}):
        steps = ["denoise"] if region is None else ["denoise", region]
        list(open_stream(embedder, preset=preset(*steps), cache=EmbeddingCache(tmp_path)).stream(images))
    assert embedder.seen == 3


def test_augmented_views_are_embedded_once(tmp_path: Path, embedder: CellMeans) -> None:
    augment = {"copies": 2, "brightness": 0.2}
    settings = {"embedder": embedder, "cache": EmbeddingCache(tmp_path)}
    detector = patchcore(augment=augment, **settings).fit(textures(4))
    assert (detector.embedded_images, detector.embedded_views, embedder.seen) == (4, 12, 12)
    again = patchcore(augment=augment, **settings).fit(textures(4))
    assert embedder.seen == 12
    assert np.array_equal(again.state_.arrays["bank"], detector.state_.arrays["bank"])
    assert len(detector.state_.arrays["bank"]) == 3 * len(patchcore().fit(textures(4)).state_.arrays["bank"])


def test_augmentation_bears_the_light_it_was_fitted_for() -> None:
    images = textures(8)
    darker = [np.rint(image * 0.8).astype(np.uint8) for image in images]
    plain = patchcore().fit(images).decision_function(darker).mean()
    fitted = patchcore(augment={"copies": 4, "brightness": 0.3}).fit(images).decision_function(darker).mean()
    assert fitted < 0.3 * plain


def test_the_image_left_out_is_left_out_in_all_its_views() -> None:
    """An augmented copy of itself would be its neighbour, and its score almost nothing."""
    images = textures(4)
    plain = patchcore().fit(images)
    augmented = patchcore(augment={"copies": 1, "noise": 0.001}).fit(images)
    assert augmented.decision_scores_ == pytest.approx(plain.decision_scores_, rel=0.05)


def test_settings_that_are_off_are_no_part_of_a_version() -> None:
    banks = [spec for spec in DETECTORS.values() if "augment" in spec.keys]
    assert {"vision_patchcore", "vision_anomalydino"} <= {spec.model for spec in banks}
    for spec in banks:
        off, on = spec.cut({}).fit, spec.cut({"augment": {"blur": 1}}).fit
        assert "augment" not in off.model_dump(mode="json")
        assert on.model_dump(mode="json")["augment"]["blur"] == 1


def test_anomaly_dinos_share_of_patches_is_of_those_inspected() -> None:
    def fitted(*steps: object) -> Detector:
        return create_detector(
            "vision_anomalydino", embedder=CellMeans(), preset=preset(*steps), topk=0.1, contamination=0.2
        )

    images = textures(5)
    spoiled = with_spot(images[0], top=16, left=40)
    half = fitted().fit([image[:, 32:] for image in images])
    behind = fitted(RIGHT_HALF).fit(images)
    assert behind.decision_function([spoiled]) == half.decision_function([spoiled[:, 32:]]) > 0


def test_the_object_mask_is_found_among_the_inspected_tokens() -> None:
    tokens = np.random.default_rng(0).normal(0, 1, (12, 12, 4)).astype(np.float32)
    tokens[3:9, 6:9, 0] += 60  # the object, in the right half
    tokens[:, :4, 1] += 500  # beside it something larger, outside
    inspected = np.zeros((12, 12), bool)
    inspected[:, 4:] = True
    found = object_mask(tokens[inspected], (12, 12), inspected.ravel())
    grid = np.zeros((12, 12), bool)
    grid[inspected] = found
    expected = np.zeros((12, 12), bool)
    expected[2:10, 5:10] = True  # dilated by one
    assert np.array_equal(grid, expected)
