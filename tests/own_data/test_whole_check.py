"""``uad check`` names everything that is wrong at once, tells errors from warnings, and is quick on demand."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.cli.invoke import uad
from tests.own_data.cases import housing, picture, save
from uad_orchestrator.datasets import DatasetError
from uad_orchestrator.orchestration.services.project_check import storage as storage_check
from uad_orchestrator.orchestration.services.project_check.disk import DiskNeed, disk_need
from uad_orchestrator.orchestration.services.project_check.storage import storage_problems
from uad_orchestrator.project import load_project

SMALL = {"train": 4, "good": 2, "bad": 2}


def edit(home: Path, **sections: Any) -> None:
    path = home / "uad.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections, sort_keys=False))


def check(home: Path, *options: str) -> tuple[int, dict[str, list[str]], dict[str, Any]]:
    """The exit status, what is said of each place, all of the JSON."""
    done = uad("check", "--home", home, "--json", *options)
    found = json.loads(done.stdout)
    said: dict[str, list[str]] = {}
    for problem in found["problems"]:
        said.setdefault(problem["where"], []).append(f"{problem['severity']}: {problem['problem']}")
    return done.exit_code, said, found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    housing(tmp_path, **SMALL)
    return tmp_path


def test_a_sound_project_has_no_problems(home: Path) -> None:
    assert check(home)[:2] == (0, {})
    assert uad("check", "--home", home).stdout.endswith("0 problems, 0 warnings\n")


def test_warnings_alone_are_no_failure(home: Path) -> None:
    root = home / "images/housing"
    (root / "test/good/000.png").write_bytes((root / "train/good/000.png").read_bytes())
    status, said, found = check(home)
    assert status == 0
    (place,) = said
    assert place == "line7/housing: housing/test/good/000.png"
    assert said[place][0].startswith("warning: the same file as housing/train/good/000.png")
    assert (found["errors"], found["warnings"]) == (0, 1)
    text = uad("check", "--home", home).stdout
    assert "warning: line7/housing" in text
    assert text.endswith("0 problems, 1 warning\n")


def test_everything_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": torch.zeros(3, 3)}, home / "other.pth")
    save(home / "images/housing/ground_truth/scratch/000_mask.png", np.zeros((40, 40), np.uint8))
    (home / "file").write_text("")
    edit(
        home,
        storage={"root": "file/artifacts", "local": "/proc/uad"},
        datasets={
            "line7": {"layout": "folder", "root": "images"},
            "line8": {"layout": "folder", "root": "not-mounted"},
        },
        automation={"recalibrate": "0 25 * * *"},
        detectors={
            "good": {"model": "vision_patchcore", "embedder": "filter_bank"},
            "lost": {"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "gone.pth"}},
            "other": {"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "other.pth"}},
            "odd": {"model": "vision_patchcor"},
        },
    )
    status, said, _ = check(home)
    assert status == 1
    assert {where.partition(":")[0] for where in said} == {
        "uad.yaml",
        "datasets.line8",
        "line7/housing",
        "detectors.lost.embedder.weights",
        "detectors.other.embedder",
        "storage.root",
        "storage.local",
    }
    in_file = " ".join(said["uad.yaml"])
    assert "0 25 * * *" in in_file
    assert "vision_patchcor" in in_file
    assert "tensors that resnet18 needs are missing" in said["detectors.other.embedder"][0]
    assert "a file where a folder is expected" in said["storage.root"][0]
    assert "cannot be written to" in said["storage.local"][0]
    quick, without, _ = check(home, "--quick")
    assert quick == 1
    assert said.keys() - without.keys() == {"detectors.other.embedder"}


def test_a_file_with_nothing_right_in_it_is_the_error_it_was(tmp_path: Path) -> None:
    (tmp_path / "uad.yaml").write_text("datasets: 3\n")
    done = uad("check", "--home", tmp_path)
    assert done.exit_code == 2
    assert "datasets" in done.stderr


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_held_against_their_network_by_shapes(
    home: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    tensors = torchvision.models.get_model("resnet18", weights=None).state_dict()
    weights = home / f"w{suffix}"

    def write() -> None:
        if suffix == ".pth":
            torch.save(tensors, weights)
        else:
            from safetensors.torch import save_file

            save_file(tensors, weights)

    write()
    embedder = {"name": "resnet18", "weights": weights.name}
    edit(home, detectors={"p": {"model": "vision_patchcore", "embedder": embedder}})
    assert check(home)[:2] == (0, {})
    tensors["layer2.0.conv1.weight"] = torch.zeros(128, 64, 5, 5)
    write()
    status, said, _ = check(home)
    assert status == 1
    assert "'layer2.0.conv1.weight' has shape (128, 64, 5, 5), resnet18 needs (128, 64, 3, 3)" in str(said)


def test_packages_that_are_missing_are_named_with_what_to_type(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uad_orchestrator import extras

    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    index = {"model": "vision_patchcore", "embedder": "filter_bank", "index": "ivf"}
    network = {"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "random:0"}}
    edit(home, detectors={"far": index, "deep": network})
    status, said, _ = check(home, "--quick")
    assert status == 1
    assert "pip install 'uad_orchestrator[faiss]'" in said["detectors.far.index"][0]
    assert "pip install 'uad_orchestrator[torch]'" in said["detectors.deep.embedder"][0]


def test_each_disk_has_to_hold_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_check, "free_bytes", lambda folder: 10)
    edit(home, storage={"root": "artifacts", "local": "caches"})
    project = load_project(home)
    (both,) = storage_problems(project, DiskNeed(6, 6))
    assert both.where == "storage"
    monkeypatch.setattr(storage_check, "_disk", lambda folder: folder.name)
    assert list(storage_problems(project, DiskNeed(6, 6))) == []
    assert [found.where for found in storage_problems(project, DiskNeed(60, 60))] == [
        "storage.root",
        "storage.local",
    ]


def test_the_need_is_estimated_in_every_layout(home: Path) -> None:
    """The same images, found by folders and by a table."""
    by_folders = disk_need(load_project(home))
    kinds = {"train/good": ("train", 0), "test/good": ("test", 0), "test/scratch": ("test", 1)}
    lines = [
        f"{path.relative_to(home / 'images').as_posix()},housing,{split},{label}"
        for folder, (split, label) in kinds.items()
        for path in (home / "images/housing" / folder).iterdir()
    ]
    table = home / "images" / "table.csv"
    table.write_text("\n".join(["image_path,category,split,label", *lines]) + "\n")
    edit(home, datasets={"line7": {"layout": "manifest", "root": "images/table.csv"}})
    assert disk_need(load_project(home)) == by_folders
    assert by_folders.embeddings > 0


def test_a_table_with_a_fault_is_not_taken_for_a_share_that_is_away(home: Path) -> None:
    (home / "table.csv").write_text("image,what\na.png,b\n")
    edit(home, datasets={"line7": {"layout": "manifest", "root": "table.csv"}})
    status, said, _ = check(home)
    assert (status, list(said)) == (1, ["datasets.line7"])
    assert "line 2: no image_path, category, split" in said["datasets.line7"][0]
    assert "mounted" not in said["datasets.line7"][0]


def test_a_store_whose_package_is_missing_says_which(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(storage_check, "ArtifactStore", refuse)
    edit(home, storage={"root": "s3://bucket/uad"})
    said = check(home, "--quick")[1]
    assert said["storage.root"] == ["error: s3://bucket/uad: Install s3fs to access S3"]


def test_a_faulty_category_stops_before_anything_is_computed(home: Path) -> None:
    """In a refresh; the next category goes on, and every fault is named."""
    shutil.copytree(home / "images/housing", home / "images/lid")
    for i in (0, 1):
        save(home / f"images/housing/ground_truth/scratch/{i:03}_mask.png", np.zeros((40, 40), np.uint8))
    done = uad("refresh", "--home", home, "--json")
    assert done.exit_code == 1
    result = json.loads(done.stdout)
    (failed,) = result["failed"]
    assert (failed["asset"], failed["category"]) == ("memory_bank", "line7/housing")
    for i in (0, 1):
        assert f"housing/ground_truth/scratch/{i:03}_mask.png" in failed["error"]
    of_it = {node["asset"] for node in result["materialized"] if node["category"] == "line7/housing"}
    assert of_it == {"checkpoint"}, "the digests of its weights, and nothing computed"
    assert any(node["category"] == "line7/lid" for node in result["materialized"])
    assert {node["category"] for node in result["skipped"]} == {"line7/housing"}
    row = next(
        row
        for row in json.loads(uad("leaderboard", "--home", home, "--json").stdout)["rows"]
        if row["category"] == "housing"
    )
    assert (row["status"], "000_mask.png" in row["reason"]) == ("failed", True)


def test_findings_are_taken_once_per_version_of_the_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uad_orchestrator.orchestration.cells.findings import dataset_findings as findings
    from uad_orchestrator.orchestration.versions.stores import open_state

    taken: list[str] = []
    real = findings.CHECKS["files"]
    monkeypatch.setattr(findings, "CHECKS", {"files": lambda m, r: (taken.append(m.category), real(m, r))[1]})
    for _ in range(2):
        findings.dataset_findings(open_state(load_project(home)), "line7/housing")
    assert taken == ["housing"]
    path = home / "images/housing/test/good/000.png"
    save(path, picture(900)[0])
    os.utime(path, (1, 1))
    findings.dataset_findings(open_state(load_project(home)), "line7/housing")
    assert taken == ["housing", "housing"]


def test_a_file_that_stays_is_not_decoded_again(tmp_path: Path) -> None:
    from uad_orchestrator.orchestration.cells.kept_findings import kept_facts

    found: list[str] = []

    def ask() -> None:
        with kept_facts(tmp_path) as remember:
            for key in ("one", "two"):
                assert remember(key, lambda key=key: (found.append(key), {"is": key})[1]) == {"is": key}

    ask()
    ask()
    assert found == ["one", "two"]
    (tmp_path / "findings/contents.sqlite").write_bytes(b"no database" * 100)
    ask()
    assert found == ["one", "two"] * 2
    ask()  # the damaged file is gone, the next one keeps
    ask()
    assert found == ["one", "two"] * 3


def test_what_was_found_is_kept_when_a_check_is_broken_off(tmp_path: Path) -> None:
    from uad_orchestrator.orchestration.cells.kept_findings import kept_facts

    with pytest.raises(KeyboardInterrupt), kept_facts(tmp_path) as remember:
        assert remember("one", lambda: 1) == 1
        assert remember("one", lambda: pytest.fail("found already")) == 1
        raise KeyboardInterrupt
    with kept_facts(tmp_path) as remember:
        assert remember("one", lambda: pytest.fail("kept already")) == 1


def test_an_image_that_was_too_large_is_taken_once_the_limit_is_raised(home: Path) -> None:
    from uad_orchestrator.orchestration.cells.findings.dataset_findings import refuse_faulty
    from uad_orchestrator.orchestration.versions.stores import open_state

    edit(home, images={"max_megapixels": 0.001})
    with pytest.raises(DatasetError, match="max_megapixels"):
        refuse_faulty(open_state(load_project(home)), "line7/housing")
    edit(home, images={"max_megapixels": 1})
    refuse_faulty(open_state(load_project(home)), "line7/housing")


def test_an_error_is_forgotten_once_it_is_mended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uad_orchestrator.datasets.checks import masks
    from uad_orchestrator.images.decode import ImageError
    from uad_orchestrator.orchestration.cells.findings.dataset_findings import dataset_findings
    from uad_orchestrator.orchestration.versions.stores import open_state

    def deny(path: Path, *_: Any) -> None:
        raise ImageError(f"{path}: cannot be read: Permission denied")

    with monkeypatch.context() as denied:
        denied.setattr(masks, "read_mask_values", deny)
        found = dataset_findings(open_state(load_project(home)), "line7/housing")
        assert {(finding.severity, finding.message) for finding in found} == {
            ("error", "cannot be read: Permission denied")
        }
    assert dataset_findings(open_state(load_project(home)), "line7/housing") == []


def give_alpha(path: Path) -> None:
    pixels, _ = picture(7)
    save(path, np.dstack([pixels, np.arange(96, dtype=np.uint8)[:, None].repeat(96, 1)]))


def test_what_alpha_hides_is_decoded_for_once_and_not_at_all_by_a_quick_check(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uad_orchestrator.images import remarks

    decoded: list[str] = []
    real = remarks.hidden_share
    monkeypatch.setattr(
        remarks, "hidden_share", lambda data, name, how: (decoded.append(name), real(data, name, how))[1]
    )
    give_alpha(home / "images/housing/train/good/000.png")
    assert check(home, "--quick")[:2] == (0, {}) and decoded == []
    for _ in range(2):
        [said] = check(home)[1].values()
        assert said[0].startswith("warning: its alpha hides")
    assert len(decoded) == 1


def test_a_damaged_image_with_alpha_is_a_problem_like_others(home: Path) -> None:
    path = home / "images/housing/train/good/000.png"
    give_alpha(path)
    damaged = bytearray(path.read_bytes())
    at = damaged.index(b"IDAT") + 200
    damaged[at : at + 40] = bytes(40)
    path.write_bytes(damaged)
    status, said, _ = check(home)
    assert status == 1
    [problem] = said["line7/housing: housing/train/good/000.png"]
    assert problem.startswith("error: damaged: the checksum of the IDAT chunk")


def test_a_manifest_that_is_the_root_itself_needs_disk_too(home: Path) -> None:
    rows = [
        {"image_path": f"housing/{split}/good/000.png", "category": "housing", "split": split, "label": 0}
        for split in ("train", "test")
    ]
    (home / "images/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    edit(home, datasets={"line7": {"layout": "manifest", "root": "images/rows.jsonl"}})
    assert check(home, "--quick")[2]["disk_bytes"] > 0


def test_images_of_a_calibration_folder_are_read_like_the_dataset_and_each_fault_is_named(home: Path) -> None:
    for number in range(3):
        save(home / f"unseen/{number}.tif", picture(number)[0][..., 0].astype(np.float32))
    model = {"model": "vision_padim_anomalib", "checkpoint": "x.ckpt", "calibration": {"folder": "unseen"}}
    (home / "x.ckpt").write_bytes(b"")
    edit(home, detectors={"padim": model})
    where = "detectors.padim.calibration.folder"
    assert len(check(home, "--quick")[1][where]) == 3
    edit(home, datasets={"line7": {"layout": "folder", "root": "images", "value_range": [0, 255]}})
    assert where not in check(home, "--quick")[1]
