"""Detectors on tiles: one scale from fit to score, whole images left out, each tile embedded once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.scoring import ScoreWriter, read_responses
from uad_orchestrator.detectors.protocol.settings import MapSettings, ScoringSettings, Settings
from uad_orchestrator.detectors.protocol.stages import (
    DetectorState,
    Response,
    fitted_images,
    groups_by_digest,
)
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import TiledDetector
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

SIDE, STRIDE = 32, 24
SIZE = (72, 80)  # 3 rows and 3 columns of tiles
TILES = 9


class Seen(CellMeans):
    """Remembers the shape of every image it is given."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.shapes: list[tuple[int, ...]] = []

    def embed_batch(self, images: Sequence[np.ndarray]) -> list:
        self.shapes += [image.shape for image in images]
        return super().embed_batch(images)


def patchcore(embedder: CellMeans, **settings: Any) -> Detector:
    given = {"coreset": {"method": "none"}, "contamination": 0.2, **settings}
    return create_detector("vision_patchcore", embedder=embedder, **given)


def tiled(embedder: CellMeans, **settings: Any) -> Detector:
    return patchcore(embedder, tiling={"tile_size": SIDE, "stride": STRIDE}, **settings)


def sources(images: list[np.ndarray], groups: list[str] | None = None) -> list[ImageSource]:
    groups = groups or [f"part {i}" for i in range(len(images))]
    return [
        ImageSource.from_array(image, name=f"{i:03}.png", group=group)
        for i, (image, group) in enumerate(zip(images, groups, strict=True))
    ]


def test_fit_calibration_and_score_see_the_same_scale() -> None:
    embedder = Seen()
    detector = tiled(embedder).fit(textures(6, size=SIZE), validation=textures(3, seed=1, size=SIZE))
    detector.predict([*textures(2, seed=2, size=SIZE), *textures(1, seed=3, size=(20, 200))])
    assert set(embedder.shapes) == {(SIDE, SIDE, 3)}


def test_a_detector_fitted_on_whole_images_is_refused() -> None:
    whole = patchcore(CellMeans()).fit(textures(4))
    with pytest.raises(ValueError, match="another scale"):
        TiledDetector(whole, tile_size=SIDE)
    with pytest.raises(ValueError, match="already"):
        TiledDetector(tiled(CellMeans()), tile_size=SIDE)


def test_each_tile_is_embedded_once() -> None:
    embedder = Seen()
    detector = tiled(embedder).fit(textures(5, size=SIZE))
    assert detector.image_point_.source == "leave_one_image_out"
    assert embedder.seen == detector.embedded_views == 5 * TILES
    assert detector.embedded_images == 5
    fresh = textures(4, seed=1, size=SIZE)
    detector.decision_function(fresh)
    detector.predict(fresh)
    detector.predict_anomaly_map(fresh)
    assert embedder.seen == 9 * TILES
    assert detector.embedded_images == 9


def test_tiles_are_cached_between_stages_and_detectors(tmp_path: Path) -> None:
    first, second = Seen(), Seen()
    cache, images = EmbeddingCache(tmp_path), sources(textures(4, size=SIZE))
    detector = tiled(first, cache=cache)
    state = detector.fit_state(images)
    responses = list(detector.respond(state, images, leave_out=True))
    again = tiled(second, cache=cache, n_neighbors=1)
    same = list(again.respond(again.fit_state(images), images, leave_out=True))
    assert (first.seen, second.seen) == (4 * TILES, 0)
    assert (detector.embedded_images, again.embedded_images) == (4, 0)
    assert [r.score for r in same] == [r.score for r in responses]
    other_cut = patchcore(second, cache=cache, tiling={"tile_size": SIDE, "stride": SIDE})
    other_cut.fit_state(images)
    assert second.seen == 4 * 5  # tiles at other places are other images; those at the four corners are known
    whole = patchcore(second, cache=cache)
    whole.fit_state(images)
    assert second.shapes[-1] == (*SIZE, 3)


@pytest.mark.parametrize("model", ["vision_patchcore", "vision_anomalydino"])
@pytest.mark.parametrize("blend", ["hann", "max", "mean"])
def test_one_tile_that_covers_the_image_is_the_image(model: str, blend: str) -> None:
    train, test = textures(6, size=(64, 64)), textures(4, seed=1, size=(64, 64))
    settings = {"embedder": CellMeans(), "coreset": {"ratio": 0.5, "method": "batched_greedy"}}
    whole = create_detector(model, **settings).fit(train)
    same = create_detector(model, tiling={"tile_size": 64, "blend": blend}, **settings).fit(train)
    assert np.array_equal(same.state_.arrays["bank"], whole.state_.arrays["bank"])
    assert np.array_equal(same.decision_scores_, whole.decision_scores_)
    assert (same.threshold_, same.pixel_threshold_) == (whole.threshold_, whole.pixel_threshold_)
    assert np.array_equal(same.predict_anomaly_map(test), whole.predict_anomaly_map(test))


def test_left_out_all_tiles_of_an_image_are() -> None:
    images = sources(textures(5, size=SIZE))
    detector = tiled(CellMeans())
    state = detector.fit_state(images)
    left_out = list(detector.respond(state, images, leave_out=True))
    for i, response in enumerate(left_out):
        others = images[:i] + images[i + 1 :]
        (refitted,) = detector.respond(detector.fit_state(others), [images[i]])
        assert response.score == pytest.approx(refitted.score, rel=1e-6)
        np.testing.assert_allclose(response.patch_grid, refitted.patch_grid, rtol=1e-5)
        assert response.score > 0  # a tile of its own image would be a perfect match


def test_left_out_all_images_of_a_part_are() -> None:
    images = sources(textures(6, size=SIZE), ["a", "b", "a", "c", "b", "c"])
    detector = tiled(CellMeans())
    state = detector.fit_state(images)
    calibration = detector.calibration_images(state, images)
    assert (calibration[1], calibration[2]) == ("leave_one_group_out", True)
    assert calibration[0] == images
    (response,) = detector.respond(state, [images[0]], leave_out=True)
    (refitted,) = detector.respond(detector.fit_state([i for i in images if i.group != "a"]), [images[0]])
    assert response.score == pytest.approx(refitted.score, rel=1e-6)


def test_a_single_image_leaves_nothing_to_calibrate_on_however_many_tiles_it_has() -> None:
    detector = tiled(CellMeans()).fit(textures(1, size=SIZE))
    assert np.isnan(detector.threshold_)
    assert "single image" in detector.image_point_.source


def test_the_state_names_tiles_and_their_images_and_a_copy_is_fitted_once() -> None:
    first, second = textures(2, size=SIZE)
    images = sources([first, second, first])
    state = tiled(CellMeans()).fit_state(images)
    assert len(state.facts["images"]) == 2 * TILES
    assert set(groups_by_digest(state)) == {image.digest for image in images}
    assert state.facts["patches"] == 2 * TILES * (SIDE // 8) ** 2


def test_few_shot_references_are_whole_images() -> None:
    images = sources(textures(8, size=SIZE))
    detector = tiled(CellMeans(), references={"k": 2, "seed": 1}).fit(images)
    assert set(groups_by_digest(detector.state_)) == {images[2].digest, images[3].digest}
    assert len(detector.state_.facts["images"]) == 2 * TILES
    assert (detector.image_point_.source, detector.image_point_.n) == ("held_out", 6)


@pytest.mark.parametrize("size", [SIZE, (72, 200), (20, 30), (20, 90), (90, 20), (1, 1)])
def test_maps_have_the_images_size_whatever_it_is(size: tuple[int, int]) -> None:
    detector = tiled(CellMeans()).fit(textures(4, size=SIZE) + textures(4, seed=2, size=(30, 30)))
    made = detector.get_anomaly_map(textures(1, seed=1, size=size)[0])
    assert made.shape == size and made.dtype == np.float32 and np.isfinite(made).all()


def test_mixed_sizes_in_one_call_answer_as_they_do_alone() -> None:
    detector = tiled(CellMeans()).fit(textures(5, size=SIZE))
    mixed = [textures(1, seed=i, size=size)[0] for i, size in enumerate([SIZE, (20, 90), (33, 33), SIZE])]
    together = detector.decision_function(mixed)
    maps = detector.predict_anomaly_map(mixed)
    alone = tiled(CellMeans()).fit(textures(5, size=SIZE))
    for i, image in enumerate(mixed):
        assert alone.decision_function([image])[0] == together[i]
        assert np.array_equal(alone.get_anomaly_map(image), maps[i])


def test_a_defect_is_found_where_it_lies_on_a_wide_image() -> None:
    size = (72, 200)
    detector = tiled(CellMeans(), maps={"gaussian_sigma": 2}).fit(textures(20, size=size))
    good = textures(3, seed=1, size=size)
    bad = [with_spot(image, top=40, left=left) for image, left in zip(good, (8, 96, 184), strict=True)]
    assert (detector.predict(bad) == 1).all()
    for image, left in zip(bad, (8, 96, 184), strict=True):
        made = detector.get_anomaly_map(image)
        row, column = np.unravel_index(made.argmax(), made.shape)
        assert 38 <= row <= 50 and left - 2 <= column <= left + 10


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"score_reduce": "max"}, lambda scores: scores.max()),
        ({"score_reduce": "mean"}, lambda scores: scores.mean()),
        ({"score_reduce": "topk_mean", "topk": 0.35}, lambda scores: np.sort(scores)[-3:].mean()),
    ],
)
def test_tile_scores_are_reduced(how: dict[str, Any], expected: Any) -> None:
    detector = patchcore(CellMeans(), tiling={"tile_size": SIDE, "stride": STRIDE, **how})
    images = sources(textures(4, size=SIZE))
    (response,) = detector.respond(detector.fit_state(images[1:]), images[:1])
    assert response.patch_grid.shape == (TILES, 4, 4)
    assert response.score == pytest.approx(expected(response.patch_grid.max(axis=(1, 2))))


class Brightness:
    """A preset that needs the whole image: it subtracts its mean. Counts."""

    has_roi = False

    def __init__(self, lost: int = 0) -> None:
        self.lost, self.seen = lost, []

    def pixel_recipe(self) -> dict[str, Any]:
        return {"steps": ["mean"]}

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def inspected(self, size: tuple[int, int]) -> None:
        return None

    def apply(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(image.shape)
        level = np.clip(image.astype(float) - image.mean() + 100, 0, 255).astype(np.uint8)
        return level[self.lost :]


def test_the_preset_goes_once_over_the_whole_image_before_it_is_cut() -> None:
    train, preset = textures(5, size=SIZE), Brightness()
    detector = tiled(CellMeans(), preset=preset).fit(train)
    assert preset.seen == [(*SIZE, 3)] * 5
    levelled = [Brightness().apply(image) for image in train]
    expected = tiled(CellMeans()).fit(levelled)
    assert np.array_equal(detector.decision_scores_, expected.decision_scores_)


def test_a_preset_of_another_size_than_it_says_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"images\[0\].*gives 64 x 80 pixels, but says 72 x 80"):
        tiled(CellMeans(), preset=Brightness(lost=8)).fit(textures(3, size=SIZE))


def test_a_file_is_measured_by_its_header_and_decoded_once(tmp_path: Path) -> None:
    import cv2

    paths = [tmp_path / f"{i}.png" for i in range(4)]
    images = textures(4, size=SIZE)
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    counted: list[str] = []

    def counting(source: ImageSource) -> ImageSource:
        return replace(source, read=lambda: counted.append(source.name) or source.read())  # type: ignore[func-returns-value]

    files = [counting(ImageSource.from_path(path)) for path in paths]
    detector = tiled(CellMeans()).fit(files)
    assert counted == [str(path) for path in paths]
    assert np.array_equal(detector.decision_scores_, tiled(CellMeans()).fit(images).decision_scores_)


class OwnModel(Detector):
    """Neither embeddings nor a bank: the mean image of the normals, and the distance to it."""

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        pixels = np.stack([image.read().mean(axis=2) for image in images])
        return DetectorState({"mean": pixels.mean(axis=0)}, {"images": fitted_images(images)})

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        for image in images:
            grid = np.abs(image.read().mean(axis=2) - state.arrays["mean"]).astype(np.float32)
            yield Response(
                image.name, float(grid.max()), grid, Region(0, 0, *grid.shape), grid.shape, grid.shape, 0.0
            )


def test_any_detector_can_be_tiled_through_its_stages_alone() -> None:
    own = OwnModel(
        open_stream(CellMeans()),
        Settings(),
        ScoringSettings(contamination=0.2),
        MapSettings(gaussian_sigma=0),
    )
    detector = TiledDetector(own, tile_size=SIDE, stride=STRIDE)
    image, bad = np.full((*SIZE, 3), 90, np.uint8), with_spot(np.full((*SIZE, 3), 90, np.uint8), 50, 60)
    detector.fit([image] * 3, validation=textures(9, size=SIZE))
    assert detector.image_point_.source == "validation"
    np.testing.assert_allclose(
        detector.get_anomaly_map(bad), np.where((bad != 90).any(axis=2), 80, 0), atol=1e-4
    )
    assert not hasattr(own, "state_")


def test_a_models_grids_have_to_be_of_one_shape() -> None:
    class Uneven(OwnModel):
        def respond(
            self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
        ) -> Any:
            for i, response in enumerate(super().respond(state, images)):
                yield replace(response, patch_grid=response.patch_grid[i:])

    own = Uneven(open_stream(CellMeans()), Settings(), ScoringSettings(), MapSettings())
    with pytest.raises(ValueError, match=r"images\[0\].*shapes"):
        TiledDetector(own, tile_size=SIDE).fit(textures(2, size=SIZE)).decision_function(
            textures(1, size=SIZE)
        )


def test_what_is_stored_gives_the_same_map(tmp_path: Path) -> None:
    detector = tiled(CellMeans()).fit(textures(5, size=SIZE))
    images = sources([*textures(2, seed=1, size=SIZE), *textures(1, seed=1, size=(20, 90))])
    given = list(detector.respond(detector.state_, images))
    with ScoreWriter(tmp_path) as table:
        for response in given:
            table.add(response, role="test")
    for response, (_, stored) in zip(given, read_responses(tmp_path), strict=True):
        assert stored.tiles == response.tiles
        assert stored.patch_grid.shape == response.patch_grid.shape
        assert np.array_equal(detector.anomaly_map(stored), detector.anomaly_map(response))


@pytest.mark.parametrize(
    ("tiling", "word"),
    [
        ({"tile_size": 32, "stride": 33}, "gaps"),
        ({"tile_size": 0}, "tile_size"),
        ({"tile_size": 32, "blend": "median"}, "blend"),
        ({"tile_size": 32, "tile": 3}, "tile"),
        ({"stride": 3}, "tile_size"),
    ],
)
def test_wrong_settings_are_refused(tiling: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TiledDetector(patchcore(CellMeans()), **tiling)
