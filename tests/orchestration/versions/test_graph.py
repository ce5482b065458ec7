"""The graph: the design's table, the code's table and Dagster's own graph are one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.versions.graph import NODES, Cell, cell_of, partition_of
from uad_orchestrator.project import ProjectError, demo_project
from uad_orchestrator.project.load import open_project

DESIGN = {
    "dataset_category": ("category", set()),
    "normal_images": ("category", {"dataset_category"}),
    "test_images": ("category", {"dataset_category"}),
    "ground_truth": ("category", {"dataset_category"}),
    "preprocessing_preset": ("detector", set()),
    "checkpoint": ("cell", set()),
    "fit_settings": ("detector", set()),
    "scoring_settings": ("detector", set()),
    "map_settings": ("detector", set()),
    "evaluation_protocol": ("category", set()),
    "memory_bank": ("cell", {"normal_images", "preprocessing_preset", "checkpoint", "fit_settings"}),
    "score_table": ("cell", {"memory_bank", "normal_images", "test_images", "scoring_settings"}),
    "anomaly_maps": ("cell", {"score_table", "map_settings"}),
    "metrics_report": ("cell", {"score_table", "anomaly_maps", "ground_truth", "evaluation_protocol"}),
    "leaderboard": ("none", {"metrics_report"}),
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(demo_project(tmp_path_factory.mktemp("demo")))


def test_the_table_is_the_designs() -> None:
    assert {name: (node.dimension, set(node.reads)) for name, node in NODES.items()} == DESIGN


def test_dagsters_graph_is_the_table(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(DESIGN)
    for name, (dimension, reads) in DESIGN.items():
        node = graph.get(dg.AssetKey(name))
        assert {key.to_user_string() for key in node.parent_keys} == reads
        assert _dimension(node.partitions_def) == dimension
        assert node.group_name == NODES[name].group
        assert node.description and node.kinds


def test_definitions_load_whole(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)  # also finds an op and a job of one name
    assert {"cell", "inputs", "leaderboard"} <= {job.name for job in definitions.resolve_all_job_defs()}


def test_a_cell_reads_its_own_category_and_detector(definitions: dg.Definitions) -> None:
    cell = Cell("demo/gear", "patchcore")
    assert partition_of("normal_images", cell) == "demo/gear"
    assert partition_of("fit_settings", cell) == "patchcore"
    assert partition_of("memory_bank", cell) == "demo/gear|patchcore"
    assert cell_of("cell", "demo/gear|patchcore") == cell
    with pytest.raises(ValueError, match="expected dataset/category"):
        Cell.from_key("gear|patchcore")


def test_home_without_project_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UAD_HOME", str(tmp_path))
    with pytest.raises(ProjectError, match="uad init"):
        open_project()


def test_without_home_the_demo_is_loaded_with_a_word_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("UAD_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert len(open_project().cells()) == 9
    assert f"There is no uad.yaml in {tmp_path}: this is the demo project. " in caplog.text
    assert (
        f"none of yours is read, and what is computed goes to {tmp_path / '.uad'}. `uad init`" in caplog.text
    )
    assert list(tmp_path.iterdir()) == []


def test_importing_the_code_location_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = (
        "torch",
        "timm",
        "open_clip",
        "anomalib",
        "faiss",
        "matplotlib",
        "cv2",
        "sklearn",
        "pyarrow",
        "duckdb",
    )
    code = f"import sys, uad_orchestrator.definitions; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def _dimension(partitions: dg.PartitionsDefinition | None) -> str:
    if partitions is None:
        return "none"
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return "cell"
    return "category" if all("/" in key for key in partitions.get_partition_keys()) else "detector"
