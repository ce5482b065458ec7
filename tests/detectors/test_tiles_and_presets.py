"""Tiles of what a preset resizes or leaves a part out of: maps land on the image, and only tiles inside are seen."""

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import cut_tile, tile_grid
from uad_orchestrator.inference import infer
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

SIDE, STRIDE, CELL = 32, 24, 8
SIZE = (72, 112)
UNLIKE = {"resize": {"method": "squash", "height": 100, "width": 64}}  # one edge grows, the other shrinks
LOW = {"resize": {"method": "squash", "height": 20, "width": 70}}  # lower than a tile
RESIZES = [
    {"resize": {"factor": 0.5}},
    {"resize": {"factor": 1.2}},
    {"resize": {"method": "shorter_edge", "pixels": 53}},
    UNLIKE,
    LOW,
]
LEFT = {"roi": {"right": 0.4}}
CORNER = {"roi": {"top": 37, "left": 61, "bottom": 72, "right": 112, "unit": "pixels"}}
TRIANGLE = {"roi": {"method": "polygon", "points": [[0.1, 0.1], [0.5, 0.1], [0.1, 0.9]]}}


def preset(*steps: object) -> Preset:
    return Preset("test", tuple(parse_step(step) for step in steps))


def tiled(*steps: object, model: str = "vision_patchcore", **settings: Any) -> Detector:
    given = {
        "embedder": CellMeans(CELL),
        "coreset": {"method": "none"},
        "contamination": 0.2,
        "maps": {"gaussian_sigma": 0},
        "tiling": {"tile_size": SIDE, "stride": STRIDE},
        **settings,
    }
    return create_detector(model, preset=preset(*steps), **given)


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i}.png") for i, image in enumerate(images)]


def stretched(canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of a canvas on the image it was stretched from: bilinear between pixel centres."""
    rows, columns = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(size, canvas.shape, strict=True))
    places = np.meshgrid(rows, columns, indexing="ij")
    return map_coordinates(canvas.astype(np.float64), places, order=1, mode="nearest")


# ---- resized -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize", RESIZES, ids=str)
@pytest.mark.parametrize("spot", [(8, 16), (56, 88)])
def test_a_spot_lights_up_where_it_is_on_the_original_image(resize: object, spot: tuple[int, int]) -> None:
    detector = tiled(resize, embedder=CellMeans(4)).fit(textures(6, size=SIZE))
    good = textures(1, seed=1, size=SIZE)[0]
    bad = with_spot(good, *spot)
    changed = detector.get_anomaly_map(bad) - detector.get_anomaly_map(good)
    assert changed.shape == SIZE
    mass = np.clip(changed, 0, None)
    for axis, (begin, canvas) in enumerate(zip(spot, preset(resize).size_after(SIZE), strict=True)):
        half_a_patch = 2 * SIZE[axis] / canvas
        centre = float((mass.sum(axis=1 - axis) * np.arange(SIZE[axis])).sum() / mass.sum())
        assert centre == pytest.approx(begin + 3.5, abs=half_a_patch)
    assert detector.decision_function([bad]) > detector.threshold_


@pytest.mark.parametrize("resize", RESIZES, ids=str)
@pytest.mark.parametrize("blend", ["hann", "max"])
def test_tiles_are_cut_of_what_the_preset_makes_of_the_image(resize: object, blend: str) -> None:
    train, test = textures(5, size=SIZE), textures(2, seed=1, size=SIZE)
    canvases = preset(resize)
    tiling = {"tile_size": SIDE, "stride": STRIDE, "blend": blend}
    detector = tiled(resize, tiling=tiling).fit(train)
    before = tiled(tiling=tiling).fit([canvases.apply(image) for image in train])
    assert np.array_equal(detector.state_.arrays["bank"], before.state_.arrays["bank"])
    assert np.array_equal(detector.decision_scores_, before.decision_scores_)
    for image in test:
        canvas = canvases.apply(image)
        assert detector.decision_function([image]) == before.decision_function([canvas])
        expected = stretched(before.get_anomaly_map(canvas), SIZE)
        np.testing.assert_allclose(detector.get_anomaly_map(image), expected, rtol=1e-4, atol=1e-3)


def test_a_blur_in_pixels_of_the_image_is_that_of_the_image() -> None:
    image, train = textures(1, seed=1, size=SIZE)[0], textures(4, size=SIZE)
    made = {
        sigma: tiled(UNLIKE, maps={"gaussian_sigma": sigma, "sigma_space": "image"})
        .fit(train)
        .get_anomaly_map(image)
        for sigma in (0.0, 3.0)
    }
    np.testing.assert_allclose(made[3.0], gaussian_filter(made[0.0], 3.0), rtol=1e-4, atol=1e-3)


def test_a_resized_file_is_measured_by_its_header_and_decoded_once(tmp_path: Path) -> None:
    decoded: list[str] = []

    def counted(path: Path) -> ImageSource:
        source = ImageSource.from_path(path)
        return replace(source, read=lambda: decoded.append(path.name) or source.read())  # type: ignore[func-returns-value]

    for i, image in enumerate(textures(4, size=SIZE)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image[..., ::-1])
    paths = sorted(tmp_path.glob("*.png"))
    detector = tiled(UNLIKE, {"roi": {"bottom": 0.6}})
    cut = detector._cut(counted(paths[0]))
    assert (cut.size, cut.grid.size, decoded) == (SIZE, (100, 64), [])
    detector.fit([counted(path) for path in paths])
    assert decoded == [path.name for path in paths]
    assert detector.embedded_images == 4


# ---- a region of interest ------------------------------------------------------------------------------------


def inside_patches(steps: tuple[object, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each tile in order: which of its patches lie at least half inside, by counting pixels; and its mask."""
    given = preset(*steps)
    mask, canvas = given.inspected(SIZE), given.size_after(SIZE)
    mask = cv2.resize(mask.astype(np.uint8), canvas[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    for box in tile_grid(canvas, SIDE, STRIDE).boxes():
        piece = cut_tile(mask, box)
        cells = piece.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL).sum(axis=(1, 3))
        yield cells >= CELL * CELL / 2, piece


BELOW = {"roi": {"top": 0.5, "right": 0.3}}
REGIONS = [(LEFT,), (CORNER,), (UNLIKE, CORNER), (LOW, BELOW), (TRIANGLE,), ({"resize": {}}, TRIANGLE)]


@pytest.mark.parametrize("steps", REGIONS, ids=str)
def test_only_tiles_with_a_patch_inside_are_embedded_fitted_and_scored(steps: tuple[object, ...]) -> None:
    embedder, images = CellMeans(CELL), sources(textures(3, size=SIZE))
    detector = tiled(*steps, embedder=embedder)
    state = detector.fit_state(images)
    places = [patches for patches, _ in inside_patches(steps)]
    kept = [patches for patches in places if patches.any()]
    assert 0 < len(kept) < len(places)
    assert embedder.seen == detector.embedded_views == len(state.facts["images"]) == 3 * len(kept)
    assert detector.embedded_images == 3
    assert len(state.arrays["bank"]) == 3 * sum(patches.sum() for patches in kept)
    (response,) = detector.respond(state, sources(textures(1, seed=1, size=SIZE)))
    assert embedder.seen == 4 * len(kept)
    assert response.patch_grid.shape == (len(places), SIDE // CELL, SIDE // CELL)
    outside = response.patch_grid[~np.stack(places)]
    scores = response.patch_grid[np.stack(places)]
    assert (outside == scores.min()).all() and response.score == scores.max()
    assert detector.anomaly_map(response).shape == SIZE


@pytest.mark.parametrize("steps", REGIONS[:4], ids=str)
def test_the_bank_has_the_rows_of_the_patches_inside_and_no_others(steps: tuple[object, ...]) -> None:
    images = textures(2, size=SIZE)
    bank = tiled(*steps).fit_state(sources(images)).arrays["bank"]
    expected = []
    for image in images:
        canvas = preset(*steps).apply(image)
        boxes = tile_grid(canvas.shape[:2], SIDE, STRIDE).boxes()
        for box, (patches, _) in zip(boxes, inside_patches(steps), strict=True):
            rows = CellMeans(CELL).embed(cut_tile(canvas, box)).patch_embeddings
            expected.append(rows[patches.ravel()])
    stored = np.concatenate(expected).astype(np.float16).astype(np.float32)
    assert np.array_equal(bank, stored)


def test_what_lies_outside_changes_neither_score_nor_map() -> None:
    detector = tiled(LEFT).fit(textures(5, size=SIZE))
    good = textures(1, seed=1, size=SIZE)[0]
    outside, inside = with_spot(good, top=16, left=80), with_spot(good, top=16, left=16)
    assert detector.decision_function([outside]) == detector.decision_function([good])
    assert np.array_equal(detector.get_anomaly_map(outside), detector.get_anomaly_map(good))
    assert detector.decision_function([inside]) > 2 * detector.decision_function([good])
    found = detector.get_anomaly_map(inside)
    assert found[:, 56:].max() == pytest.approx(found.min(), rel=1e-6), (
        "outside takes the lowest score of the image"
    )
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 16 <= row < 24 and 16 <= column < 24


def test_one_tile_behind_a_region_is_the_image_behind_it() -> None:
    images, test = textures(5, size=(64, 64)), with_spot(textures(1, seed=1, size=(64, 64))[0], 16, 16)
    one = tiled(LEFT, tiling={"tile_size": 64}).fit(images)
    whole = tiled(LEFT, tiling=None).fit(images)
    assert np.array_equal(one.state_.arrays["bank"], whole.state_.arrays["bank"])
    assert (one.threshold_, one.pixel_threshold_) == (whole.threshold_, whole.pixel_threshold_)
    assert one.decision_function([test]) == whole.decision_function([test])
    assert np.array_equal(one.get_anomaly_map(test), whole.get_anomaly_map(test))


def test_a_region_of_everything_changes_nothing() -> None:
    size, images = (20, 90), textures(4, size=(20, 90))  # lower than a tile: what is mirrored is inside, too
    every, none = tiled({"roi": {"bottom": 1.0}}).fit(images), tiled().fit(images)
    assert np.array_equal(every.state_.arrays["bank"], none.state_.arrays["bank"])
    assert np.array_equal(every.decision_scores_, none.decision_scores_)
    test = textures(1, seed=1, size=size)[0]
    assert np.array_equal(every.get_anomaly_map(test), none.get_anomaly_map(test))


def test_turned_and_augmented_tiles_inspect_what_came_inside() -> None:
    """Pixels outside are white: no white patch is fitted, however a tile is turned or its image is."""
    images = [image.copy() for image in textures(3, size=(96, 96))]
    for image in images:
        image[:, :48] = 255
    detector = tiled(
        {"roi": {"left": 0.55}},
        model="vision_anomalydino",
        embedder=CellMeans(4),
        rotation=(90.0, 180.0, 45.0),
        augment={"copies": 2, "rotation": 40},
    )
    state = detector.fit_state(sources(images))
    assert len(state.facts["views"]) == 6 and state.facts["patches"] > 6 * 3 * 24 * 10
    rows = state.arrays["bank"]
    white = (rows[:, 3:] == 0).all(axis=1) & (np.ptp(rows[:, :3], axis=1) == 0)
    assert not white.any()


def test_tiles_are_cached_whether_a_region_is_set_or_not(tmp_path: Path) -> None:
    cache, images = EmbeddingCache(tmp_path), sources(textures(3, size=SIZE))
    everything, part, other = CellMeans(CELL), CellMeans(CELL), CellMeans(CELL)
    tiled(UNLIKE, LEFT, embedder=part, cache=cache).fit_state(images)
    tiled(UNLIKE, embedder=everything, cache=cache).fit_state(images)
    assert part.seen + everything.seen == 3 * len(tile_grid((100, 64), SIDE, STRIDE))
    tiled(UNLIKE, CORNER, embedder=other, cache=cache).fit_state(images)
    assert other.seen == 0


def test_left_out_all_tiles_inside_are() -> None:
    images = sources(textures(4, size=SIZE))
    detector = tiled(CORNER)
    state = detector.fit_state(images)
    for i, response in enumerate(detector.respond(state, images, leave_out=True)):
        refitted = detector.fit_state(images[:i] + images[i + 1 :])
        (expected,) = detector.respond(refitted, [images[i]])
        assert response.score == pytest.approx(expected.score, rel=1e-6) and response.score > 0


def test_a_stored_state_answers_as_the_fitted_one(tmp_path: Path) -> None:
    detector, images = tiled(UNLIKE, TRIANGLE), sources(textures(3, size=SIZE))
    state = detector.fit_state(images)
    state.save(tmp_path)
    fresh, embedder = sources(textures(2, seed=1, size=SIZE)), CellMeans(CELL)
    stored = list(tiled(UNLIKE, TRIANGLE, embedder=embedder).respond(DetectorState.load(tmp_path), fresh))
    for one, other in zip(stored, detector.respond(state, fresh), strict=True):
        assert one.score == other.score and np.array_equal(one.patch_grid, other.patch_grid)
    tiles_inside = sum(patches.any() for patches, _ in inside_patches((UNLIKE, TRIANGLE)))
    assert embedder.seen == 2 * tiles_inside, "nothing is embedded to find out where patches lie"


def test_a_region_without_a_patch_names_the_image() -> None:
    speck = {"roi": {"bottom": 3, "right": 3, "unit": "pixels"}}
    with pytest.raises(ValueError, match=r"0\.png: no patch of its tiles' \(4, 4\) grids lies at least half"):
        tiled(speck).fit(sources(textures(2, size=SIZE)))
    wide = {"roi": {"right": 90, "bottom": 40, "unit": "pixels"}}
    detector = tiled(wide).fit(sources(textures(3, size=SIZE)))
    with pytest.raises(ValueError, match=r"images\[0\]: the roi reaches"):
        detector.decision_function(textures(1, size=(72, 80)))


# ---- a service that goes on and on ---------------------------------------------------------------------------


def test_images_that_were_scored_leave_nothing_behind() -> None:
    """A digest kept of each would be a hundred bytes, 40 kB of them all."""
    detector = tiled(LEFT).fit(textures(3, size=(32, 56)))
    image = textures(1, seed=1, size=(32, 56))[0]

    def bytes_after(n: int) -> int:
        for _ in infer(detector, [image] * n, include_maps=False):
            pass
        gc.collect()
        ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*uad_orchestrator*")])
        return sum(trace.size for trace in ours.traces)

    tracemalloc.start()
    try:
        before = bytes_after(20)
        assert bytes_after(400) - before < 4_000
    finally:
        tracemalloc.stop()
    assert detector.embedded_images == 3 + 420
