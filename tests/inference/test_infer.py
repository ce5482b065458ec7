"""``infer`` over every kind of input, against the detector's own stages."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from tests.inference.conftest import noise
from tests.orchestration.workshop import defective_image, normal_image, write_image
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.fitted_look import FITTED_ON
from uad_orchestrator.images.decode import ImageError, read_image
from uad_orchestrator.images.formats import ImageFormat
from uad_orchestrator.images.look import Look
from uad_orchestrator.images.reading_settings import PLAIN_READING
from uad_orchestrator.images.source import encoded_source
from uad_orchestrator.inference import Bundle, infer
from uad_orchestrator.metrics.thresholds import exceeds
from uad_orchestrator.postprocess.regions import find_regions
from uad_orchestrator.storage.embedding_cache import EmbeddingCache


@pytest.fixture
def embedder() -> CellMeans:
    return CellMeans()


@pytest.fixture
def detector(embedder: CellMeans) -> Detector:
    return create_detector(
        "vision_patchcore", embedder=embedder, coreset={"method": "none"}, contamination=0.2
    ).fit(textures(6))


def test_results_are_the_detectors_own(detector: Detector) -> None:
    images = [textures(1, seed=9)[0], with_spot(textures(1, seed=9)[0])]
    found = list(infer(detector, images))
    assert [result.name for result in found] == ["images[0]", "images[1]"]
    assert [result.score for result in found] == list(detector.decision_function(images))
    assert [result.label for result in found] == list(detector.predict(images))
    for result, anomaly_map in zip(found, detector.predict_anomaly_map(images), strict=True):
        assert np.array_equal(result.anomaly_map, anomaly_map)
        mask = exceeds(anomaly_map, detector.pixel_threshold_)
        assert np.array_equal(result.mask, mask)
        assert result.regions == find_regions(anomaly_map, mask)
        assert result.reasons == {}
        assert result.timings.total > 0
    assert found[1].regions, "the spot is a defect"


def test_one_pass_serves_score_map_and_label(detector: Detector, embedder: CellMeans) -> None:
    before = embedder.seen
    results = list(infer(detector, textures(5, seed=3), batch_size=2))
    assert all(result.anomaly_map is not None for result in results)
    assert embedder.seen - before == 5


def test_results_come_while_images_are_still_to_come(detector: Detector, embedder: CellMeans) -> None:
    given = iter(textures(60, seed=4))
    results = infer(detector, given, batch_size=2)
    next(results)
    ahead = detector.stream.reader_threads
    assert len(list(given)) >= 60 - (2 + ahead + 1), "a batch was taken and what is read ahead of it, no more"


def test_the_next_image_is_not_waited_for_in_batches_of_one(detector: Detector) -> None:
    given = iter(textures(3, seed=4))
    results = infer(detector, given, batch_size=1)
    next(results)
    assert len(list(given)) == 2


def test_mixed_sizes_keep_their_own_map_sizes(detector: Detector) -> None:
    images = [textures(1, size=size)[0] for size in ((48, 64), (40, 24), (64, 64))]
    found = list(infer(detector, images, include_images=True))
    assert [result.anomaly_map.shape for result in found] == [(48, 64), (40, 24), (64, 64)]
    assert all(np.array_equal(r.image, image) for r, image in zip(found, images, strict=True))


def in_format(image: np.ndarray, input_format: ImageFormat) -> np.ndarray:
    """An RGB uint8 image as another format has it; the inverse of ``to_rgb``, written independently."""
    colours, depth, axes = input_format.value.split("_")
    made = image[..., 0] if colours == "gray" else image[..., ::-1] if colours == "bgr" else image
    if depth == "u16":
        made = made.astype(np.uint16) * 257
    elif depth == "f32":
        made = (made / 255).astype(np.float32)
    return np.transpose(made, (2, 0, 1)) if axes == "chw" else made


@pytest.mark.parametrize("input_format", list(ImageFormat))
def test_every_format_gives_what_rgb_gives(bundle: Bundle, input_format: ImageFormat) -> None:
    gray = np.repeat(defective_image(3)[0][..., :1], 3, axis=2)
    image = gray if "gray" in input_format else defective_image(3)[0]
    (expected,) = infer(bundle, [image])
    for given in ([in_format(image, input_format)], in_format(image, input_format)[None]):
        (found,) = infer(bundle, given, input_format=input_format)
        assert found.score == pytest.approx(expected.score, rel=1e-4)
        assert found.label == expected.label


@pytest.mark.parametrize("input_format", list(ImageFormat))
@pytest.mark.parametrize("wrong", [np.float64, np.int16])
def test_a_wrong_dtype_says_which(bundle: Bundle, input_format: ImageFormat, wrong: type) -> None:
    image = in_format(normal_image(1), input_format)
    with pytest.raises(ValueError, match=rf"images\[1\]: dtype {np.dtype(wrong).name}; {input_format}"):
        list(infer(bundle, [image, image.astype(wrong)], input_format=input_format))


def test_a_wrong_range_says_which(bundle: Bundle) -> None:
    image = normal_image(1).astype(np.float32)
    with pytest.raises(ValueError, match=r"images\[0\]: values outside 0\.\.1"):
        list(infer(bundle, [image], input_format="rgb_f32_hwc"))
    with pytest.raises(ValueError, match="rgb_u9_hwc"):
        infer(bundle, [image], input_format="rgb_u9_hwc")
    with pytest.raises(ValueError, match="4 axes"):
        infer(bundle, normal_image(1))


def test_without_maps_there_are_scores(detector: Detector) -> None:
    (found,) = infer(detector, textures(1), include_maps=False)
    assert found.label == 0
    assert found.anomaly_map is found.regions is found.mask is None
    assert found.reasons == dict.fromkeys(("anomaly_map", "regions"), "no maps were asked for")


def test_without_thresholds_the_reason_is_said(undecided: Bundle) -> None:
    (found,) = infer(undecided, [normal_image(1)])
    assert found.label is None and found.regions is None
    assert found.anomaly_map is not None
    assert "cannot support a false-positive rate of 1 %" in found.reasons["label"]
    assert "cannot support a false-positive rate of 1 %" in found.reasons["regions"]


def test_an_unreadable_file_is_named(bundle: Bundle, images: dict[str, Path]) -> None:
    images["b"].write_bytes(images["b"].read_bytes()[:-20])
    with pytest.raises(ImageError, match=r"b\.png: cut short"):
        list(infer(bundle, images.values()))
    missed = []
    kept = list(
        infer(
            bundle,
            images.values(),
            on_unreadable=lambda source, error: missed.append((source.name, str(error))),
        )
    )
    assert [Path(result.name).stem for result in kept] == ["a", "c"]
    assert [name for name, _ in missed] == [str(images["b"])]
    assert [r.score for r in kept] == [r.score for r in infer(bundle, [images["a"], images["c"]])]


def test_files_are_read_once_and_only_when_their_turn_comes(
    bundle: Bundle, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or read_bytes(path))
    results = infer(bundle, images.values(), batch_size=1, include_images=True)
    first = next(results)
    assert opened == [images["a"]]
    assert np.array_equal(first.image, normal_image(900))
    list(results)
    assert opened == list(images.values())


def test_the_batch_size_changes_no_result_and_is_put_back(detector: Detector) -> None:
    images, before = textures(5, seed=6), detector.stream.batch_size
    alone = [result.score for result in infer(detector, images, batch_size=1)]
    together = [result.score for result in infer(detector, images, batch_size=5)]
    assert alone == together
    assert detector.stream.batch_size == before
    with pytest.raises(ValueError, match="batch_size is 0"):
        infer(detector, images, batch_size=0)


def test_a_detectors_cache_is_used_and_holds_what_was_seen(tmp_path: Path) -> None:
    embedder = CellMeans()
    detector = create_detector(
        "vision_patchcore", embedder=embedder, cache=EmbeddingCache(tmp_path), contamination=0.2
    ).fit(textures(4))
    before = embedder.seen
    first, second = itertools.tee(textures(4))
    assert [r.score for r in infer(detector, first)] == [r.score for r in infer(detector, second)]
    assert embedder.seen == before, "these images were embedded for fitting"


def test_alike_images_are_not_mixed_up(detector: Detector) -> None:
    """Images get no digest of their content here: each has to be told apart all the same."""
    image, other = noise(1, 48, 64, 3), noise(2, 48, 64, 3)
    scores = [result.score for result in infer(detector, [image, other, image])]
    assert scores[0] == scores[2] != scores[1]


def test_an_unfitted_detector_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        infer(create_detector("vision_patchcore", embedder=CellMeans()), [])


def test_files_come_along_where_they_are_asked_for(bundle: Bundle, images: dict[str, Path]) -> None:
    data = images["b"].read_bytes()
    plain = list(infer(bundle, [images["b"]]))
    encoded = encoded_source(data, "request", PLAIN_READING)
    for found in (
        infer(bundle, [images["b"]], include_files=True),
        infer(bundle, [encoded], include_files=True),
    ):
        (result,) = found
        assert result.file is not None and result.look == Look.of(read_image(images["b"]))
        assert (result.file.content, result.file.digest) == (data, hashlib.sha256(data).hexdigest())
        assert result.score == plain[0].score and np.array_equal(result.anomaly_map, plain[0].anomaly_map)
    assert plain[0].file is None
    (of_array,) = infer(bundle, [read_image(images["b"])], include_files=True)
    assert of_array.file is None and of_array.look is not None


def test_an_image_that_was_fitted_on_keeps_its_score_with_its_file(bundle: Bundle, tmp_path: Path) -> None:
    write_image(tmp_path / "fitted.png", normal_image(0))
    scores = [
        result.score
        for include in (False, True)
        for result in infer(bundle, [tmp_path / "fitted.png"], include_files=include)
    ]
    assert scores[0] == scores[1]


def test_a_look_comes_along_though_the_detector_does_not_know_what_it_was_fitted_on(
    bundle: Bundle, images: dict[str, Path]
) -> None:
    facts = {name: fact for name, fact in bundle.state.facts.items() if name != FITTED_ON}
    old = replace(bundle, state=replace(bundle.state, facts=facts))
    looks = [next(infer(old, [images["a"]], include_files=asked)).look for asked in (False, True)]
    assert looks == [None, Look.of(read_image(images["a"]))]
