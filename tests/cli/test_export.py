"""``uad export bundle --fpr``: a rate that the normals cannot support is refused here, not on the line.
``uad export onnx``: a cell as one file.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop
from uad_orchestrator.inference import load_bundle

CNN = {
    "model": "vision_patchcore",
    "embedder": {
        "name": "resnet18",
        "weights": "random:0",
        "image_size": 32,
        "layers": ["layer1"],
        "dimension": 32,
    },
    "coreset": {"ratio": 0.1},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose patchcore is computed, and its cnn, where torch is installed."""
    shop = Workshop.build(tmp_path_factory.mktemp("export"), {"alpha": ["disc"]}, train=12)
    computed = ["patchcore"]
    if find_spec("torch") is not None:
        shop.edit(lambda values: values["detectors"].update(cnn=CNN))
        computed.append("cnn")
    said = uad("refresh", "--home", shop.home, *(word for name in computed for word in ("--detector", name)))
    assert said.exit_code == 0, said.stderr
    return shop.home


def export(home: Path, output: Path, *options: str) -> tuple[int, str]:
    said = uad("export", "bundle", "--output", output, "--home", home, "--detector", "patchcore", *options)
    return said.exit_code, said.stderr


def test_a_rate_that_the_normals_cannot_support_is_refused(home: Path, tmp_path: Path) -> None:
    status, said = export(home, tmp_path / "bundle", "--fpr", "0.001")
    assert status == 1 and not (tmp_path / "bundle").exists()
    assert "12 normals cannot support a false-positive rate of 0.1 %: 999 or more are needed" in said
    assert "higher rate" in said


def test_one_that_they_can_support_is_exported(home: Path, tmp_path: Path) -> None:
    assert export(home, tmp_path / "bundle", "--fpr", "0.2") == (0, "")
    calibration = load_bundle(tmp_path / "bundle").calibration
    assert (calibration.image_point.contamination, calibration.image_point.reason) == (0.2, "")


def test_a_cell_that_cannot_be_written_as_onnx_is_refused_by_name(home: Path, tmp_path: Path) -> None:
    said = uad("export", "onnx", "*", "patchcore", "--output", tmp_path / "disc.onnx", "--home", home)
    assert said.exit_code == 1 and list(tmp_path.iterdir()) == []
    assert "cannot be exported as ONNX" in said.stderr and "embedder filter_bank" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["*"], "name a category and a detector, or a --bundle"),
        (["*", "patchcore", "--images", "."], "--images and --bundle belong together"),
        (["--bundle", "."], "--images and --bundle belong together"),
        (["*", "*"], "cells match"),
        (["*", "patchcora"], "patchcore"),
    ],
)
def test_onnx_of_something_else_is_wrong_usage(
    home: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    said = uad("export", "onnx", *arguments, "--output", tmp_path / "disc.onnx", "--home", home)
    assert said.exit_code == 2 and message in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_cell_is_written_as_onnx_from_the_project_and_from_its_bundle(home: Path, tmp_path: Path) -> None:
    for module in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(module, reason="needs the onnx extra")
    output, cell = tmp_path / "disc.onnx", ["alpha/disc", "cnn"]
    said = uad("export", "onnx", *cell, "--home", home, "--output", output, "--verify", "3", "--json")
    assert said.exit_code == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["output"], found["bytes"], found["opset"]) == (str(output), output.stat().st_size, 17)
    first = found["verification"][0]
    assert (first["runtime"], first["images"]) == ("onnxruntime", 4) and 0 <= first["score"] < 1e-3
    bundle, test = tmp_path / "bundle", home / "data/alpha/disc/test"
    said = uad("export", "bundle", "--home", home, "--detector", "cnn", "--output", bundle)
    assert said.exit_code == 0, said.stderr
    said = uad("export", "onnx", "--bundle", bundle, "--images", test, "--output", output)
    assert said.exit_code == 0, said.stderr
    assert "onnxruntime" in said.stdout and "5 images, scores within" in said.stdout
