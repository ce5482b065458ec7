"""``uad export maps`` and ``uad export submission`` on a project that was refreshed."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import tifffile
from click.testing import Result
from typer.testing import CliRunner

from tests.orchestration.workshop import (
    EMBEDDER,
    SIDE,
    Workshop,
    normal_image,
    write_ad2_category,
    write_category,
    write_image,
)
from uad_orchestrator.cli.app import app
from uad_orchestrator.export import submission


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """MVTec AD with one category and MVTec AD 2 with one, in miniature; one detector of two is computed."""
    home = tmp_path_factory.mktemp("exports")
    write_category(home / "data/ad/disc", 0)
    vial = home / "data/ad2/vial"
    write_ad2_category(vial, 1000)
    for split, word in (("test_private", "regular"), ("test_private_mixed", "mixed")):
        for number in range(2):
            write_image(vial / f"{split}/{number:03d}_{word}.png", normal_image(2000 + number))
    patchcore = {"model": "vision_patchcore", "embedder": EMBEDDER}
    found = Workshop(home)
    found.write(
        {
            "storage": {"root": ".uad"},
            "datasets": {"ad": {"layout": "mvtec_ad", "root": "data/ad"},
                         "ad2": {"layout": "mvtec_ad2", "root": "data/ad2"}},
            "detectors": {"patchcore": patchcore, "later": {**patchcore, "n_neighbors": 3}},
        }
    )  # fmt: skip
    from uad_orchestrator.orchestration.versions.selection import Selection

    assert not found.refresh(Selection(detectors=("patchcore",))).failed
    return found


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_maps_lie_where_the_evaluation_scripts_look(workshop: Workshop, tmp_path: Path) -> None:
    output = tmp_path / "maps"
    done = export("maps", "--home", workshop.home, "--detector", "patchcore", "--output", output)
    assert done.exit_code == 0, done.output
    found = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.tiff"))
    assert found == [f"disc/test/{kind}/{n:03d}.tiff" for kind in ("good", "scratch") for n in range(2)]
    assert {tifffile.imread(output / name).shape for name in found} == {(SIDE, SIDE)}


def test_the_private_splits_become_a_submission(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("submission", "--home", workshop.home, "--detector", "patchcore", "--output")
    incomplete = export(*asked, tmp_path / "a.tar.gz")
    assert incomplete.exit_code == 2
    assert "can: the category is missing" in incomplete.output and "vial:" not in incomplete.output
    monkeypatch.setattr(submission, "CATEGORIES", ("vial",))
    done = export(*asked, tmp_path / "a.tar.gz")
    assert done.exit_code == 0, done.output
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        names = set(archive.getnames())
    assert names == {
        f"{folder}/vial/{split}/{n:03d}_{word}{suffix}"
        for folder, suffix in (("anomaly_images", ".tiff"), ("anomaly_images_thresholded", ".png"))
        for split, word in (("test_private", "regular"), ("test_private_mixed", "mixed"))
        for n in range(2)
    }
    told = json.loads((tmp_path / "a.tar.gz.uad_export.json").read_text())
    assert told["categories"]["vial"]["pixel_threshold_source"].startswith("validation")


def test_what_cannot_be_exported_is_said(workshop: Workshop, tmp_path: Path) -> None:
    def said(*arguments: str | Path) -> str:
        done = export(*arguments, "--home", workshop.home, "--output", tmp_path / "x")
        assert done.exit_code == 2
        return done.output

    assert "several detectors (later, patchcore)" in said("maps")
    assert "no selected cell is of a dataset of layout mvtec_ad or mvtec_loco" in said(
        "maps", "--category", "ad2/*"
    )
    computing = said("maps", "--detector", "later")
    assert "ad/disc" in computing and "uad refresh" in computing
    assert not (tmp_path / "x").exists()
