"""What is kept of inputs, where caches and artifacts lie, and which files a cell loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop, normal_image, write_image
from uad_orchestrator import __version__
from uad_orchestrator.datasets import demo_generator
from uad_orchestrator.orchestration.cells.board import keep_board
from uad_orchestrator.orchestration.versions.graph import INPUTS, NODES, Cell, cell_of, partition_of
from uad_orchestrator.orchestration.versions.stores import (
    inputs_stamp,
    make_demo_images,
    open_index,
    open_state,
    open_store,
    remember_input,
)
from uad_orchestrator.orchestration.versions.weight_paths import weight_files
from uad_orchestrator.project import Project, demo_project
from uad_orchestrator.reporting.board.leaderboard import build_leaderboard
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.lineage.index import LineageIndex

CELL = Cell("alpha/disc", "patchcore")
ADDRESSES: dict[str, tuple[str | None, str | None, str | None]] = {
    "category": ("alpha", "disc", None),
    "detector": (None, None, "patchcore"),
    "cell": ("alpha", "disc", "patchcore"),
}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.build(tmp_path / "home", {"alpha": ["disc"]}, train=2)


@pytest.mark.parametrize("asset", INPUTS)
def test_an_inputs_content_is_kept_at_its_address(workshop: Workshop, asset: str) -> None:
    state, store = open_state(workshop.project), open_store(workshop.project)
    found = state.input(asset, CELL)
    remember_input(store, found)
    key = ArtifactKey(asset, *ADDRESSES[NODES[asset].dimension], found.version)
    assert store.exists(key)
    directory = store.open_dir(key)
    assert json.loads((directory / "content.json").read_text()) == json.loads(json.dumps(found.content))
    assert store.provenance(key).code_version == __version__
    (directory / "content.json").write_text("{}")
    remember_input(store, found)
    assert (directory / "content.json").read_text() == "{}", "what is there is not written again"


@pytest.mark.parametrize("kept", ["an input", "a board"])
def test_what_a_kill_left_out_of_the_index_is_noted_by_the_next_run(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    state, store = open_state(workshop.project), open_store(workshop.project)
    keep = {
        "an input": lambda: remember_input(store, state.input("normal_images", CELL)),
        "a board": lambda: keep_board(store, build_leaderboard({}), "0001"),
    }[kept]
    index = open_index(store)
    index.sql("FROM materialization")  # a lost index is made anew, of all that is stored

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_kill:
        at_the_kill.setattr(LineageIndex, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            keep()
    assert len(list(store.list_all())) == 1 and index.sql("FROM materialization").rows == []
    for _ in range(2):
        keep()
        assert index.sql("SELECT count(*) FROM materialization").rows == [(1,)]


def test_caches_lie_in_the_local_folder_and_artifacts_below_the_root(workshop: Workshop) -> None:
    workshop.edit(lambda values: values.update(storage={"root": "artifacts_here", "local": "caches"}))
    project = workshop.project
    state, store = open_state(project), open_store(project)
    remember_input(store, state.input("normal_images", CELL))
    assert (workshop.home / "caches/digests.sqlite").is_file()
    assert list((workshop.home / "artifacts_here").rglob("content.json"))
    assert store.local == workshop.home / "caches"


def test_files_are_hashed_again_only_when_that_is_asked_for(workshop: Workshop) -> None:
    assert open_state(workshop.project).digests.rehash is False  # type: ignore[attr-defined]
    assert open_state(workshop.project, rehash=True).digests.rehash is True  # type: ignore[attr-defined]


def test_the_stamp_of_a_cells_inputs_changes_with_each_of_them_and_leaves_out_what_is_not_there(
    workshop: Workshop,
) -> None:
    def stamp() -> str:
        return inputs_stamp(open_state(workshop.project), CELL)

    first = stamp()
    assert stamp() == first
    workshop.edit(lambda values: values["evaluation"].update(aupro_limits=[0.1]))
    second = stamp()
    write_image(workshop.home / "data/alpha/disc/test/good/000.png", normal_image(77))
    third = stamp()
    (workshop.home / "data/alpha").rename(workshop.home / "gone")
    assert len({first, second, third, stamp()}) == 4
    assert inputs_stamp(open_state(workshop.project), CELL) == stamp()


def test_demo_images_are_made_once_and_of_no_other_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(
        demo_generator, "generate_demo", lambda root: made.append(root) or root.mkdir(parents=True)
    )
    project = demo_project(tmp_path)
    (dataset,) = project.datasets.values()
    make_demo_images(project)
    make_demo_images(project)
    assert made == [Path(dataset.root)]
    another = Workshop.build(tmp_path / "other", {"alpha": ["disc"]}, train=1)
    (another.home / "data/alpha").rename(another.home / "gone")
    make_demo_images(another.project)
    assert len(made) == 1, "a folder that is out of reach is not filled with other images"


def files_of(project: Project, cell: Cell) -> list[str]:
    return [str(Path(path).relative_to(project.home)) for path in weight_files(project, cell)]


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ({"model": "vision_patchcore", "embedder": EMBEDDER}, []),
        ({"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "random:0"}}, []),
        ({"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "hub:timm/x"}}, []),
        ({"model": "vision_patchcore", "embedder": {"name": "resnet18"}}, []),
        ({"model": "vision_patchcore", "embedder": {"name": "resnet18", "weights": "w/a.pth"}}, ["w/a.pth"]),
        ({"model": "vision_padim_anomalib", "checkpoint": "c/{dataset}/{category}.pt"}, ["c/alpha/disc.pt"]),
        ({"model": "vision_padim_anomalib", "checkpoint": "c/m.xml"}, ["c/m.xml", "c/m.bin"]),
    ],
)
def test_the_weight_files_of_a_cell_whether_they_are_there_or_not(
    workshop: Workshop, entry: dict[str, Any], files: list[str]
) -> None:
    if "checkpoint" in entry:
        pytest.importorskip("anomalib", reason="extra anomalib not installed")
    for path in files:
        (workshop.home / path).parent.mkdir(parents=True, exist_ok=True)
        (workshop.home / path).touch()
    workshop.edit(lambda values: values.update(detectors={"one": entry}))
    project = workshop.project
    for path in files:
        (workshop.home / path).unlink()
    assert files_of(project, Cell("alpha/disc", "one")) == files
    assert files_of(project, Cell("alpha/disc", "another")) == []


def test_a_partition_leads_back_to_its_part_of_the_grid() -> None:
    assert cell_of("category", partition_of("normal_images", CELL)) == Cell("alpha/disc", "")
    assert cell_of("detector", partition_of("fit_settings", CELL)) == Cell("", "patchcore")
    assert cell_of("cell", partition_of("checkpoint", CELL)) == CELL
    assert partition_of("leaderboard", CELL) == ""
    assert CELL.artifact_key("memory_bank", "77") == ArtifactKey(
        "memory_bank", "alpha", "disc", "patchcore", "77"
    )
    for wrong in ("alpha/disc", "alphadisc|patchcore", "alpha/disc|", "|patchcore"):
        with pytest.raises(ValueError, match="expected dataset/category"):
            Cell.from_key(wrong)
    assert (Cell("a/b/c", "d").dataset, Cell("a/b/c", "d").category_name) == ("a", "b/c")
