"""Cells are written for real and run by onnxruntime alone, on pictures of odd sizes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.documentation.code_blocks import ROOT, blocks_of
from tests.embedders.open_clip_models import TINY_SETTINGS, register_tiny
from tests.export.onnx.cells import RESNET, VIT, fitted, picture, test_pictures
from uad_orchestrator.export import ExportError
from uad_orchestrator.export.onnx import OnnxExport, verification, write_onnx, writing
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import infer
from uad_orchestrator.inference.bundle import Bundle

for module, extra in (("torch", "torch"), ("onnx", "onnx"), ("onnxruntime", "onnx")):
    pytest.importorskip(module, reason=f"needs the {extra} extra")

ROBUST = [{"white_balance": "gray_world"}, {"illumination": "homomorphic"}, {"resize": {"factor": 0.8}}]
POLYGON = [{"roi": {"method": "polygon", "points": [[0.1, 0.2], [0.9, 0.3], [0.5, 0.9]]}}]
CELLS: dict[str, tuple[str, dict[str, Any], list[Any], dict[str, Any]]] = {
    "patchcore, a preset that resizes, re-weighted": (
        "vision_patchcore", RESNET, ROBUST, {"reweight": True, "n_neighbors": 3, "distance": "l2"},
    ),
    "patchcore, a region of interest": ("vision_patchcore", RESNET, POLYGON, {}),
    "anomalydino, another position for each size": (
        "vision_anomalydino", {**VIT, "pos_embed": "hub"}, [],
        {"maps": {"gaussian_sigma": 2.0, "sigma_space": "image", "morphology": {"operation": "opening"}}},
    ),
    "patchcore, OpenCLIP": ("vision_patchcore", {**TINY_SETTINGS, "vv_blocks": 1, "image_size": 40}, [], {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def soft() -> Bundle:
    return fitted(
        "vision_softpatch", RESNET, aggregation="topk_mean", topk=0.1, maps={"normalisation": "normal_maps"}
    )


@pytest.fixture(scope="module")
def exported(soft: Bundle, tmp_path_factory: pytest.TempPathFactory) -> OnnxExport:
    """A cell of SoftPatch. Not to be changed."""
    path = tmp_path_factory.mktemp("onnx") / "disc.onnx"
    return write_onnx(soft, path, test_pictures((90, 60)), opset=15)


@pytest.mark.parametrize("name", CELLS)
def test_scores_and_maps_are_ours(name: str, tmp_path: Path) -> None:
    model, embedder, preset, settings = CELLS[name]
    if "OpenCLIP" in name:
        register_tiny(tmp_path)
    bundle = fitted(model, embedder, preset, **settings)
    images = test_pictures() if bundle.preset.has_roi else test_pictures((150, 100), (50, 71), (64, 64))
    found = write_onnx(bundle, tmp_path / "cell.onnx", images)
    for agreement in found.agreements:
        assert agreement.error == "" and agreement.holds, agreement
        assert agreement.images == len(images) + (found.size is None)
    assert found.agreements[0].runtime == "onnxruntime"
    assert found.agreements[0].score < 3e-4 and found.agreements[0].anomaly_map < 3e-4
    assert found.size == ((72, 96) if bundle.preset.has_roi else None)


def run(path: Path, pixels: np.ndarray) -> tuple[float, np.ndarray]:
    import onnxruntime

    score, anomaly_map = onnxruntime.InferenceSession(str(path)).run(None, {"image": pixels[None]})
    assert score.shape == (1,) and anomaly_map.shape == (1, *pixels.shape[:2])
    assert score.dtype == anomaly_map.dtype == np.float32
    return float(score[0]), anomaly_map[0]


@pytest.mark.parametrize(
    "pixels", [picture(7), picture(8, 33, 140), picture(9, 1, 300)], ids=["usual", "wide", "a line"]
)
def test_any_picture_scores_as_infer_scores_it(
    soft: Bundle, exported: OnnxExport, pixels: np.ndarray
) -> None:
    (expected,) = infer(soft, [pixels])
    score, anomaly_map = run(exported.path, pixels)
    assert score == pytest.approx(expected.score, rel=1e-3)
    assert np.allclose(anomaly_map, expected.anomaly_map, atol=1e-3 * np.abs(expected.anomaly_map).max())


def test_a_grey_picture_gets_the_colour_of_those_fitted_on(soft: Bundle, exported: OnnxExport) -> None:
    grey = np.repeat(picture(7).mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    (expected,) = infer(soft, [grey])
    assert [remark.kind for remark in expected.remarks] == ["channels"]
    assert run(exported.path, grey)[0] == pytest.approx(expected.score, rel=1e-3)


def test_the_file_says_what_it_is(soft: Bundle, exported: OnnxExport) -> None:
    import onnx

    model = onnx.load(str(exported.path))
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [15] == [exported.opset]
    assert said["uad.schema"] == "1" and said["uad.name"] == soft.name
    points = soft.calibration.image_point, soft.calibration.pixel_point
    for name, point in zip(("image", "pixel"), points, strict=True):
        assert float(said[f"uad.{name}_threshold"]) == point.threshold
        assert said[f"uad.{name}_threshold_source"] == point.source
    card = json.loads(said["uad.card"])
    assert card["recipe"] == json.loads(json.dumps(soft.recipe())) and card["model_card"] == "# disc\n"
    assert card["fitted_images"] == 8 and card["settings"]["scoring"]["topk"] == 0.1
    assert json.loads(said["uad.versions"])["onnx"]
    assert json.loads(said["uad.verification"])[0]["score"] == exported.agreements[0].score


def test_a_threshold_that_there_is_not_is_left_out(soft: Bundle) -> None:
    from dataclasses import replace

    from tests.export.onnx.cells import NO_POINT
    from uad_orchestrator.export.onnx.metadata import metadata

    said = metadata(replace(soft, calibration=replace(soft.calibration, image_point=NO_POINT)), [])
    assert "uad.image_threshold" not in said and "uad.pixel_threshold" in said
    assert said["uad.image_threshold_source"] == "none: not calibrated"


def test_where_review_begins_is_told_of_a_cell_with_a_grey_zone(soft: Bundle) -> None:
    from dataclasses import replace

    from uad_orchestrator.export.onnx.metadata import metadata

    begin = replace(soft.calibration.image_point, threshold=0.25, contamination=0.3)
    said = metadata(replace(soft, calibration=replace(soft.calibration, review_point=begin)), [])
    assert said["uad.review_threshold"] == "0.25" and said["uad.review_threshold_source"] == begin.source
    assert "uad.review_threshold" not in metadata(soft, [])


def test_the_program_of_the_page_needs_nothing_of_ours(
    soft: Bundle,
    exported: OnnxExport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    (program,) = [b.code for b in blocks_of(ROOT / "docs/how-to/onnx.md") if b.language == "python"]
    assert "uad_orchestrator" not in program
    shutil.copyfile(exported.path, tmp_path / "weave.onnx")
    pixels = picture(101)
    pixels[20:40, 30:60] = 20
    cv2.imwrite(str(tmp_path / "part.png"), pixels[..., ::-1])
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "onnx.md", "exec"), {})
    (expected,) = infer(soft, [pixels])
    word, score, defective = capsys.readouterr().out.split()[:3]
    assert word == ("anomalous" if expected.label else "normal") == "anomalous"
    assert float(score) == pytest.approx(expected.score, rel=1e-3)
    assert int(defective) == pytest.approx(int(expected.mask.sum()), abs=3)


@pytest.mark.parametrize("of", ["score", "anomaly_map"])
def test_a_file_that_is_off_is_not_kept(
    soft: Bundle, exported: OnnxExport, of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*_: object, **__: object) -> list[verification.Expected]:
        (found,) = verification.expected(soft, test_pictures()[:1], other_shape=False)
        return [verification.Expected(**{**vars(found), of: getattr(found, of) * np.float32(1.002)})]

    monkeypatch.setattr(writing, "_write_graph", lambda *given: shutil.copyfile(exported.path, given[2]))
    monkeypatch.setattr(writing, "expected", other)
    with pytest.raises(
        ExportError, match=r"run by onnxruntime, .* does not agree .* off by up to .* most on picture 0"
    ):
        write_onnx(soft, tmp_path / "off.onnx", test_pictures())
    assert list(tmp_path.iterdir()) == []


def test_one_that_does_not_run_is_not_kept(
    soft: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_write_graph", lambda *given: given[2].write_bytes(b"no graph"))
    with pytest.raises(ExportError, match="run by onnxruntime"):
        write_onnx(soft, tmp_path / "broken.onnx", test_pictures()[:1])
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_file_stays(
    soft: Bundle, exported: OnnxExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    foreign = tmp_path / "foreign.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], [])), str(foreign))
    text = tmp_path / "notes.txt"
    text.write_text("mine")
    for path in (foreign, text):
        before = path.read_bytes()
        with pytest.raises(FileExistsError, match="no earlier export"):
            write_onnx(soft, path, test_pictures())
        assert path.read_bytes() == before
    monkeypatch.setattr(writing, "_write_graph", lambda *given: shutil.copyfile(exported.path, given[2]))
    ours = shutil.copyfile(exported.path, tmp_path / "ours.onnx")
    assert write_onnx(soft, ours, test_pictures()[:1]).path == ours


def test_images_are_needed_to_hold_it_against(soft: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no test images .* --bundle and --images"):
        write_onnx(soft, tmp_path / "disc.onnx", [])
    deep = [ImageSource.from_array(picture(1).astype(np.uint16) * 257, name="deep")]
    with pytest.raises(ValueError, match="no image of 8 bits"):
        verification.expected(soft, deep, other_shape=True)


def test_images_are_spread_evenly() -> None:
    images = [ImageSource.from_array(picture(1), name=str(i), digest="d") for i in range(21)]
    assert [image.name for image in verification.evenly_spread(images, 5)] == ["0", "5", "10", "15", "20"]
    assert len(verification.evenly_spread(images, 50)) == 21
