"""New images that are unlike those a detector was fitted on: refused or remarked on, on every way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from tests.images.test_reading import bomb
from tests.orchestration.workshop import normal_image, write_image
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.fitted_look import fitted_on
from uad_orchestrator.images import formats, source, tiff_bands
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.look import tinted
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import Bundle, infer, load_bundle, save_bundle
from uad_orchestrator.inference.service.http_app import create_app
from uad_orchestrator.inference.service.request_queue import RequestQueue
from uad_orchestrator.inference.watch import arriving_images


def encoded(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def deep(image: np.ndarray) -> np.ndarray:
    """12 bits in 16."""
    return image.astype(np.uint16) * 16


@pytest.fixture
def client(bundle: Bundle) -> Iterator[TestClient]:
    with RequestQueue(bundle.detector()) as requests:
        yield TestClient(create_app(bundle, requests))


def test_the_service_answers_with_warnings_and_counts_them(client: TestClient) -> None:
    assert client.post("/infer", content=encoded(normal_image(900))).json()["warnings"] == []
    (warning,) = client.post("/infer", content=encoded(normal_image(900) // 3)).json()["warnings"]
    assert "darker" in warning
    text = client.get("/metrics").text
    assert 'uad_image_warnings_total{kind="brightness"} 1.0' in text


def test_the_service_refuses_another_depth_and_too_many_pixels(client: TestClient) -> None:
    refused = client.post("/infer", content=encoded(deep(normal_image(900))))
    assert refused.status_code == 422
    assert "16 bits" in refused.json()["error"] and "8 bits" in refused.json()["error"]
    for size in ((49_000_000, 1), (1, 49_000_000), (10_000, 10_000)):
        refused = client.post("/infer", content=bomb(*size))
        assert refused.status_code == 413 and f"{size[1]} x {size[0]} pixels" in refused.json()["error"]


def test_a_depth_that_is_said_is_read(bundle: Bundle, tmp_path: Path) -> None:
    (expected,) = infer(bundle, [normal_image(900)])
    (tmp_path / "deep.png").write_bytes(encoded(deep(normal_image(900))))
    with pytest.raises(ImageError, match=r"deep\.png: 16 bits .* 12 bits.*images of 8 bits"):
        list(infer(bundle, [tmp_path / "deep.png"]))
    (found,) = infer(bundle, [tmp_path / "deep.png"], reading=ReadingSettings(bit_depth=12))
    assert found.label == expected.label == 0 and found.remarks == ()
    assert found.score == pytest.approx(expected.score, rel=0.2)  # 4080 of 4095 is not 255 of 255


def test_the_watched_folder_is_read_by_the_settings(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(encoded(deep(normal_image(900))))
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    reading = ReadingSettings(bit_depth=12)
    arrived = next(arriving_images(tmp_path, settle_seconds=0, poll_seconds=0.01, reading=reading))
    assert arrived.name.endswith("deep.png") and arrived.scaled
    (found,) = infer(bundle, [arrived])
    assert found.label == 0


def test_a_state_of_an_earlier_version_says_nothing(bundle: Bundle, tmp_path: Path) -> None:
    facts = {name: fact for name, fact in bundle.state.facts.items() if name != "fitted_on"}
    assert facts != bundle.state.facts
    earlier = replace(bundle, state=replace(bundle.state, facts=facts))
    for image in (normal_image(900) // 3, deep(normal_image(900))):
        (found,) = infer(earlier, [image], input_format=f"rgb_u{8 * image.itemsize}_hwc")
        assert found.remarks == ()


def test_a_tinted_image_is_cached_apart_from_the_file_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    grey = np.repeat(normal_image(900)[..., :1], 3, axis=2)
    write_image(tmp_path / "grey.png", grey)
    usual = fitted_on(bundle.state)
    assert usual is not None and usual.tint is None, "their mean is grey"
    reddish = replace(usual, tint=(1.0, 0.6, 0.5))
    facts = {**bundle.state.facts, "fitted_on": reddish.to_json()}
    detector = replace(bundle, state=replace(bundle.state, facts=facts)).detector()
    (as_tinted,) = infer(detector, [tinted(grey, (1.0, 0.6, 0.5))])
    source = ImageSource.from_path(tmp_path / "grey.png")
    with detector.stream.caching():
        (raw,) = detector.respond(detector.state_, [source])
        (found,) = infer(detector, [tmp_path / "grey.png"])
    assert found.score == pytest.approx(as_tinted.score) and found.score != raw.score
    assert "colour" in found.remarks[0].text


def test_only_a_wholly_grey_picture_of_something_is_tinted(bundle: Bundle) -> None:
    usual = fitted_on(bundle.state)
    assert usual is not None
    reddish = replace(usual, tint=(1.0, 0.6, 0.5))
    grey = np.repeat(normal_image(900)[..., :1], 3, axis=2)
    assert reddish.tint_of(grey) == (1.0, 0.6, 0.5)
    assert reddish.tint_of(normal_image(900)) is None
    for value in (0, 90, 255):
        assert reddish.tint_of(np.full_like(grey, value)) is None, (
            "overexposed or dark: not the normals' colour"
        )
    framed = np.pad(grey, ((1200, 1200), (1200, 1200), (0, 0)), constant_values=90)
    framed[0, 0] = 10, 20, 30
    assert reddish.tint_of(framed) is None, "in colour outside the middle that is looked at"
    facts = {**bundle.state.facts, "fitted_on": reddish.to_json()}
    detector = replace(bundle, state=replace(bundle.state, facts=facts)).detector()
    (white,) = infer(detector, [np.full_like(grey, 255)])
    assert white.label == 1 and not any("mean colour" in remark.text for remark in white.remarks)


def test_a_bundle_keeps_how_its_images_are_read(bundle: Bundle, tmp_path: Path) -> None:
    said = replace(bundle, reading=ReadingSettings(value_range=(0, 1), max_megapixels=7))
    assert load_bundle(save_bundle(said, tmp_path / "said")).reading == said.reading
    plain = save_bundle(bundle, tmp_path / "plain")
    assert "reading" not in json.loads((plain / "bundle.json").read_text())
    assert load_bundle(plain).reading == bundle.reading


def test_what_was_fitted_on_never_depends_on_what_the_cache_holds(bundle: Bundle) -> None:
    detector = bundle.detector()
    with detector.stream.caching():
        images = [normal_image(seed) for seed in range(8)]
        first = detector.fit(images).state_.facts["fitted_on"]
        again = detector.fit(images).state_.facts["fitted_on"]
    assert first == again == bundle.state.facts["fitted_on"]


def test_a_pipe_in_a_list_of_images_is_named(bundle: Bundle, tmp_path: Path) -> None:
    write_image(tmp_path / "good.png", normal_image(900))
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    failed: list[str] = []
    paths = [tmp_path / "zero.png", tmp_path / "good.png"]
    results = list(infer(bundle, paths, on_unreadable=lambda source, error: failed.append(str(error))))
    assert len(results) == 1 and "a device; only regular files are read" in failed[0]


def test_tiles_of_a_large_tiff_are_read_as_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for seed in range(4):
        paths.append(tmp_path / f"{seed}.tif")
        large = np.kron(normal_image(seed), np.ones((3, 3, 1), np.uint8))
        tifffile.imwrite(paths[-1], large, photometric="rgb", rowsperstrip=8, compression="zlib")

    def scores_of_a_fit() -> list[float]:
        tiling = {"tile_size": 64, "stride": 48}
        detector = create_detector("vision_patchcore", contamination=0.2, tiling=tiling).fit(paths[:3])
        found = list(infer(detector, paths))
        assert all(result.remarks == () for result in found)
        return [result.score for result in found]

    at_once = scores_of_a_fit()
    monkeypatch.setattr(tiff_bands, "LARGE", 1)

    def decoded_whole(*given: object) -> None:
        raise AssertionError("the whole image was decoded")

    monkeypatch.setattr(source, "decode_image", decoded_whole)
    monkeypatch.setattr(formats, "read_image", decoded_whole)
    assert scores_of_a_fit() == at_once
