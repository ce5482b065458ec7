"""MuSc: each image against all others of its batch, and nothing that would pretend to be a threshold."""

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import DETECTORS, create_detector, musc
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.tiles import iter_tiles


def scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.kron(np.arange(48).reshape(6, 8, 1) * 5, np.ones((8, 8, 3)))
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def batch() -> list[np.ndarray]:
    return [*(scene(i) for i in range(9)), with_spot(scene(20))]


def detector(**settings: object) -> Detector:
    return create_detector("vision_musc", embedder=CellMeans(), **settings).fit(textures(2))


@pytest.mark.parametrize("share", [0.3, 0.8, 0.05])
def test_patch_scores_are_the_recipes(share: float) -> None:
    images = batch()
    found = detector(lowest_share=share)._responses_to(_sources(images))
    rows = [e.patch_embeddings.astype(np.float16).astype(np.float64) for e in CellMeans().embed_batch(images)]
    unit = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows]
    for i, response in enumerate(found):
        closest = [
            np.linalg.norm(unit[i][:, None] - unit[j][None], axis=2).min(axis=1)
            for j in range(len(unit))
            if j != i
        ]
        k = max(1, int(share * len(closest)))
        expected = np.sort(closest, axis=0)[:k].mean(axis=0)
        np.testing.assert_allclose(response.patch_grid.ravel(), expected, rtol=1e-3, atol=1e-6)
        assert response.score == pytest.approx(expected.max(), rel=1e-3)


def _sources(images: list[np.ndarray]) -> list:
    from uad_orchestrator.images.source import ImageSource

    return [ImageSource.from_array(image, name=f"{i}.png") for i, image in enumerate(images)]


def test_the_defect_stands_out_without_any_normal_image() -> None:
    found = detector()
    scores = found.decision_function(batch())
    assert scores.argmax() == 9 and scores[9] > 3 * np.sort(scores)[-2]
    spot = found.predict_anomaly_map(batch())[9]
    row, column = np.unravel_index(spot.argmax(), spot.shape)
    assert 16 <= row < 24 and 24 <= column < 32


def test_blocks_change_nothing_and_all_images_are_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = detector().decision_function(batch())
    monkeypatch.setattr(musc, "BLOCK", 3)
    embedder = CellMeans()
    found = create_detector("vision_musc", embedder=embedder, batch_size=2).fit(textures(2))
    np.testing.assert_allclose(found.decision_function(batch()), expected, rtol=1e-5)
    found.predict_anomaly_map(batch())
    assert embedder.seen == 10


@pytest.mark.parametrize("block", [1, 3, 16])
def test_a_tile_is_compared_with_other_images_by_all_their_tiles(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(musc, "BLOCK", block)
    images = batch()[-6:]
    found = detector(tiling={"tile_size": 32, "stride": 16}, lowest_share=0.4)
    tiles = [[tile.pixels for tile in iter_tiles(image, 32, 16)] for image in images]
    unit = []
    for of_image in tiles:
        rows = np.stack([e.patch_embeddings for e in CellMeans().embed_batch(of_image)])
        rows = rows.astype(np.float16).astype(np.float64)
        unit.append(rows / np.linalg.norm(rows, axis=2, keepdims=True))
    for i, response in enumerate(found._responses_to(_sources(images))):
        asked = unit[i].reshape(-1, 1, unit[i].shape[2])
        closest = [
            np.linalg.norm(asked - other.reshape(1, -1, other.shape[2]), axis=2).min(axis=1)
            for j, other in enumerate(unit)
            if j != i
        ]
        expected = np.sort(closest, axis=0)[:2].mean(axis=0)
        np.testing.assert_allclose(response.patch_grid.ravel(), expected, rtol=1e-3, atol=1e-6)
        assert response.score == pytest.approx(expected.max(), rel=1e-3)
    scores = found.decision_function(images)
    assert scores.argmax() == 5 and np.isnan(found.threshold_)
    spot = found.predict_anomaly_map(images)[5]
    row, column = np.unravel_index(spot.argmax(), spot.shape)
    assert 16 <= row < 24 and 24 <= column < 32


def test_the_tiles_of_one_image_are_no_other_images() -> None:
    with pytest.raises(ValueError, match="hand over all test images together"):
        detector(tiling={"tile_size": 32}).decision_function([scene(0)])


def test_the_others_decide_a_score_so_there_is_no_threshold() -> None:
    found = detector()
    images = batch()
    assert found.decision_function(images)[0] != found.decision_function(images[:5])[0]
    assert np.isnan(found.threshold_) and np.isnan(found.pixel_threshold_)
    assert found.image_point_.source.startswith("none: transductive")
    with pytest.raises(RuntimeError, match="transductive"):
        found.predict(images)
    assert [spec.model for spec in DETECTORS.values() if spec.transductive] == ["vision_musc"]


def test_a_copy_of_an_image_does_not_excuse_its_defect() -> None:
    images = [*batch(), with_spot(scene(20))]
    scores = detector(lowest_share=0.01).decision_function(images)
    assert scores[9] == scores[10] > 3 * scores[:9].max()


@pytest.mark.parametrize("images", [1, 2])
def test_alone_is_an_error(images: int) -> None:
    with pytest.raises(ValueError, match="hand over all test images together"):
        detector().decision_function([scene(0)] * images)


def test_what_would_set_a_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="contamination would do nothing"):
        create_detector("vision_musc", embedder=CellMeans(), contamination=0.1)


def test_maps_in_terms_of_normals_are_refused() -> None:
    with pytest.raises(ValueError, match="transductive"):
        detector(maps={"normalisation": "normal_maps"})


def test_the_registry_and_the_classes_agree_on_what_is_transductive() -> None:
    assert all(spec.load().transductive == spec.transductive for spec in DETECTORS.values())
