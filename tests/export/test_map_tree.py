"""The tree of MVTec's evaluation scripts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.export.published import SIZE, category_maps, record
from uad_orchestrator.export.category_maps import CategoryMaps, ExportError
from uad_orchestrator.export.map_tree import write_map_tree


@pytest.fixture
def categories(tmp_path: Path) -> list[CategoryMaps]:
    return [
        category_maps(
            tmp_path / "maps",
            "mvtec_ad",
            name,
            [
                record(f"{name}/train/good/000.png", "train", "good"),
                record(f"{name}/test/good/000.png", "test", "good"),
                record(f"{name}/test/crack/000.png", "test", "crack"),
                record(f"{name}/test/crack/001.JPG", "test", "crack"),
            ],
        )
        for name in ("bottle", "screw")
    ]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_test_image_has_its_map_where_the_scripts_look(
    categories: list[CategoryMaps], tmp_path: Path
) -> None:
    shown: list[tuple[str, int, int]] = []
    output = write_map_tree(categories, tmp_path / "out", "patchcore", lambda *at: shown.append(at))
    expected = {
        f"{name}/test/{kind}.tiff"
        for name in ("bottle", "screw")
        for kind in ("good/000", "crack/000", "crack/001")
    }
    assert files(output) == {*expected, "uad_export.json"}
    made = tifffile.imread(output / "screw/test/crack/001.tiff")
    assert (made.dtype, made.shape) == (np.float32, SIZE)
    np.testing.assert_array_equal(made, categories[1].maps.read("screw/test/crack/001.JPG", "crack"))
    told = json.loads((output / "uad_export.json").read_text())
    assert (told["detector"], told["categories"]["bottle"]) == (
        "patchcore",
        {"images": 3, "anomaly_maps": "5f"},
    )
    assert shown[-1] == ("screw", 3, 3) and len(shown) == 6


def test_an_earlier_export_is_replaced_and_nothing_else_is(
    categories: list[CategoryMaps], tmp_path: Path
) -> None:
    output = write_map_tree(categories, tmp_path / "out", "patchcore")
    write_map_tree(categories[:1], output, "patchcore")
    assert not (output / "screw").exists(), "nothing is left of the one before"
    foreign = tmp_path / "mine"
    (foreign / "notes").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="mine is there already"):
        write_map_tree(categories, foreign, "patchcore")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        write_map_tree(categories, tmp_path / "file", "patchcore")
    assert {path.name for path in tmp_path.iterdir()} == {"maps", "out", "mine", "file"}, "nothing lies aside"


def test_a_missing_map_is_named_and_nothing_is_written(
    categories: list[CategoryMaps], tmp_path: Path
) -> None:
    categories[1].maps.path("screw/test/crack/001.JPG", "crack").unlink()
    with pytest.raises(ExportError, match=r"screw/test/crack/001\.JPG: no anomaly map"):
        write_map_tree(categories, tmp_path / "out", "patchcore")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_export_leaves_the_earlier_one(categories: list[CategoryMaps], tmp_path: Path) -> None:
    output = write_map_tree(categories[:1], tmp_path / "out", "patchcore")
    before = files(output)

    def interrupt(category: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_map_tree(categories, output, "patchcore", interrupt)
    assert files(output) == before
    assert {path.name for path in tmp_path.iterdir()} == {"maps", "out"}
