"""``uad infer``: what it prints and writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tests.cli.invoke import uad
from tests.orchestration.workshop import SIDE, defective_image, write_image
from uad_orchestrator.inference import Bundle, infer, save_bundle


def test_exit_status_says_what_was_found(bundle_folder: Path, images: dict[str, Path]) -> None:
    assert uad("infer", "--bundle", bundle_folder, images["a"], images["c"]).exit_code == 0
    found = uad("infer", "--bundle", bundle_folder, images["b"].parent)
    assert found.exit_code == 3
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["normal", "anomalous", "normal"]
    assert [line.split()[2] for line in lines] == [str(path) for path in images.values()]
    assert "3 images, 1 anomalous" in found.stderr


def test_json_is_one_object(bundle_folder: Path, bundle: Bundle, images: dict[str, Path]) -> None:
    values = json.loads(uad("infer", "--bundle", bundle_folder, "--json", *images.values()).stdout)
    assert (values["images"], values["anomalous"], values["unreadable"]) == (3, 1, 0)
    for row, expected in zip(values["results"], infer(bundle, images.values()), strict=True):
        assert (row["image"], row["score"], row["label"]) == (expected.name, expected.score, expected.label)
        assert row["regions"] == json.loads(json.dumps([r.to_json() for r in expected.regions]))
    assert values["threshold"] == bundle.calibration.image_point.threshold
    assert values["thresholds"]["pixel"] == bundle.calibration.pixel_point.to_json()


def test_csv_has_a_row_per_image(bundle_folder: Path, bundle: Bundle, images: dict[str, Path]) -> None:
    found = uad("infer", "--bundle", bundle_folder, "--csv", *images.values())
    rows = list(csv.DictReader(io.StringIO(found.stdout)))
    expected = list(infer(bundle, images.values()))
    assert [float(row["score"]) for row in rows] == [result.score for result in expected]
    assert [int(row["regions"]) for row in rows] == [len(result.regions) for result in expected]


def test_maps_and_overlays(
    bundle_folder: Path, bundle: Bundle, images: dict[str, Path], tmp_path: Path
) -> None:
    maps, overlays = tmp_path / "maps", tmp_path / "overlays"
    folder = images["a"].parent
    write_image(folder / "late shift/b.png", defective_image(3)[0])
    status = uad("infer", "--bundle", bundle_folder, folder, "--maps", maps, "--overlays", overlays).exit_code
    assert status == 3
    expected = next(infer(bundle, [images["b"]])).anomaly_map
    assert np.array_equal(tifffile.imread(maps / "b.png.tiff"), expected)
    assert (maps / "late shift/b.png.tiff").is_file()
    assert cv2.imread(str(overlays / "late shift/b.png.jpg")).shape == (SIDE, SIDE, 3)


def test_outputs_never_share_a_name(bundle_folder: Path, images: dict[str, Path], tmp_path: Path) -> None:
    write_image(tmp_path / "other/a.png", defective_image(3)[0])
    both = (images["a"], tmp_path / "other/a.png")
    for output in ("--maps", "--overlays"):
        found = uad("infer", "--bundle", bundle_folder, *both, output, tmp_path / "out")
        assert found.exit_code == 1 and "would share their outputs" in found.stderr
    found = uad("infer", "--bundle", bundle_folder, "--json", *both)
    assert [result["image"] for result in json.loads(found.stdout)["results"]] == list(map(str, both))


def test_a_bundle_that_is_not_there_is_said(tmp_path: Path) -> None:
    found = uad("infer", "--bundle", tmp_path / "nowhere", tmp_path)
    assert (
        found.exit_code == 1
        and f"{tmp_path / 'nowhere'} is no bundle: there is no such folder" in found.stderr
    )


def test_an_unreadable_file_ends_it_or_is_told(bundle_folder: Path, images: dict[str, Path]) -> None:
    images["b"].write_bytes(b"no image")
    ended = uad("infer", "--bundle", bundle_folder, "--json", *images.values())
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert f"{images['b']}: not an image" in ended.stderr
    told = uad("infer", "--bundle", bundle_folder, "--json", "--keep-going", *images.values())
    assert told.exit_code == 1
    values = json.loads(told.stdout)
    by_image = {row["image"]: row for row in values["results"]}
    assert by_image.keys() == {str(path) for path in images.values()}
    assert "not an image" in by_image[str(images["b"])]["error"]
    assert (values["images"], values["unreadable"]) == (2, 1)


def test_without_a_threshold_nothing_is_called_normal(
    undecided: Bundle, images: dict[str, Path], tmp_path: Path
) -> None:
    folder = save_bundle(undecided, tmp_path / "undecided")
    found = uad("infer", "--bundle", folder, "--json", images["a"])
    assert found.exit_code == 1
    assert "cannot support a false-positive rate of 1 %" in found.stderr
    (row,) = json.loads(found.stdout)["results"]
    assert row["label"] is None and row["score"] > 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "name images or folders"),
        (["x.png", "--watch", "folder"], 2, "not both"),
        (["x.png", "--json", "--csv"], 2, "not both"),
        (["nowhere.png"], 1, "nowhere.png: no such file"),
        (["--watch", "nowhere"], 1, "no folder nowhere"),
        (
            ["--watch", "arriving", "--record", "arriving/seen"],
            2,
            "--record arriving/seen lies in the watched",
        ),
        (["--watch", "arriving", "--maps", "./arriving"], 2, "--maps arriving lies in the watched"),
    ],
)
def test_wrong_usage(bundle_folder: Path, arguments: list[str], status: int, said: str) -> None:
    found = uad("infer", "--bundle", bundle_folder, *arguments)
    assert (found.exit_code, found.stdout) == (status, "")
    assert said in found.stderr


def test_a_folder_that_is_no_bundle(tmp_path: Path, images: dict[str, Path]) -> None:
    found = uad("infer", "--bundle", tmp_path, images["a"])
    assert found.exit_code == 1
    assert "is no bundle" in found.stderr
