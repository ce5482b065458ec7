"""What an artifact was made from, and what changed between two versions, in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.storage.conftest import Put
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.lineage.compare import compare
from uad_orchestrator.storage.lineage.database import LineageError
from uad_orchestrator.storage.lineage.differences import changes
from uad_orchestrator.storage.lineage.index import LineageIndex
from uad_orchestrator.storage.lineage.tree import upstream

CELL = ("line7", "bottle", "patchcore")
short = st.text(max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | short,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(before=values, after=values)
@example(before=[False, False], after=[False, 0])
@example(before={"layers": [1, 2]}, after={"layers": [True, 2.0]})
@example(before=[1], after=[1.0])
@example(before=-0.0, after=0.0)
@example(before=[[1, 2]], after=[(1, 2)])
@example(before=[(1, 2)], after=[(1, True)])
def test_there_are_changes_exactly_where_values_differ(before: object, after: object) -> None:
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (list(changes(before, after)) == []) == same
    assert len(list(changes(before, after))) == len(list(changes(after, before)))


def images(*names: str) -> dict[str, str]:
    return {"content.json": json.dumps({"images": [{"path": name, "sha256": name} for name in names]})}


@pytest.fixture
def report(store: ArtifactStore, put: Put) -> ArtifactKey:
    """Two versions of a cell's stages, 1 and 2: a gamma, a batch of images and a metric changed."""
    normals = {"1": [f"{n}.png" for n in range(20)], "2": [f"{n}.png" for n in range(1, 28)]}
    for tag, gamma, auroc in (("1", 1.0, 0.91), ("2", 1.2, 0.95)):
        put(store, ArtifactKey("normal_images", "line7", "bottle", None, f"n{tag}"), images(*normals[tag]))
        steps = [{"step": "white_balance"}, {"step": "illumination", "gamma": gamma}]
        put(
            store,
            ArtifactKey("memory_bank", *CELL, f"bank{tag}"),
            inputs={"normal_images": f"n{tag}", "preprocessing_preset": f"p{tag}", "checkpoint": "w"},
            settings={"preprocessing_preset": {"steps": steps}},
            seeds={"coreset": int(tag)},
        )
        key = put(
            store,
            ArtifactKey("metrics_report", *CELL, f"report{tag}"),
            inputs={"memory_bank": f"bank{tag}"},
            metrics={"image_auroc": auroc, "pixel_auroc": None},
        )
    return key


def test_a_comparison_says_what_changed(store: ArtifactStore, report: ArtifactKey) -> None:
    lines = compare(store, "metrics_report", "line7/bottle", "patchcore", "report1", "report2").lines()
    assert lines == [
        "metrics_report report1 -> report2",
        "input: memory_bank bank1 -> bank2",
        "input: normal_images n1 -> n2",
        "input: preprocessing_preset p1 -> p2",
        "setting: preprocessing_preset.steps[illumination].gamma 1.0 -> 1.2",
        "setting: images: 8 added (20.png, 21.png, 22.png, ...), 1 removed (0.png)",
        "metric: image_auroc 0.9100 -> 0.9500 (+0.0400)",
        "also, memory_bank: seeds.coreset 1 -> 2",
    ]


def test_a_comparison_is_json(store: ArtifactStore, report: ArtifactKey) -> None:
    found = compare(store, "metrics_report", "line7/bottle", "patchcore", "report1", "report2").to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["metrics"] == [{"place": "image_auroc", "before": 0.91, "after": 0.95}]
    assert {"place": "preprocessing_preset.steps[illumination].gamma", "before": 1.0, "after": 1.2} in found[
        "settings"
    ]


def test_a_version_with_itself_shows_no_change(store: ArtifactStore, report: ArtifactKey) -> None:
    lines = compare(store, "metrics_report", "line7/bottle", "patchcore", "report2", "report2").lines()
    assert lines == ["metrics_report report2 -> report2"]


def test_a_metric_that_became_undefined_is_said(store: ArtifactStore, put: Put) -> None:
    for version, value in (("a", 0.5), ("b", float("nan"))):
        put(store, ArtifactKey("metrics_report", *CELL, version), metrics={"image_ap": value})
    lines = compare(store, "metrics_report", "line7/bottle", "patchcore", "a", "b").lines()
    assert "metric: image_ap 0.5000 -> undefined" in lines


@pytest.mark.parametrize(
    ("version", "problem"), [("x", "no version"), ("report", "2 versions"), ("", "no version")]
)
def test_first_digits_must_name_one_version(
    store: ArtifactStore, report: ArtifactKey, version: str, problem: str
) -> None:
    with pytest.raises(ArtifactError, match=rf"{problem} of metrics_report of .*: report2, report1"):
        compare(store, "metrics_report", "line7/bottle", "patchcore", version, "report2")


def test_the_tree_reaches_from_a_report_to_its_images(store: ArtifactStore, report: ArtifactKey) -> None:
    tree = upstream(store, report)
    assert [node.name for node in tree.walk()] == [
        "metrics_report", "memory_bank", "normal_images", "preprocessing_preset", "checkpoint",
    ]  # fmt: skip
    shown = str(tree).splitlines()
    assert shown[0].startswith("metrics_report report2  2")
    assert shown[1].startswith("└─ memory_bank bank2")
    assert shown[2] == "   ├─ normal_images n2  27 images"
    assert shown[4] == "   └─ checkpoint w  (not in the store)"
    assert json.loads(json.dumps(tree.to_json()))["upstream"][0]["asset"] == "memory_bank"


def test_the_index_knows_which_version_is_current(store: ArtifactStore, report: ArtifactKey) -> None:
    index = LineageIndex(store.local, store)
    with pytest.raises(LineageError, match="never materialised"):
        index.upstream("metrics_report", "line7/screw", "patchcore")
    assert index.upstream("metrics_report", "line7/bottle", "patchcore").key == report
    assert index.upstream("metrics_report", "line7/bottle", "patchcore", "report1").version == "report1"
    with pytest.raises(LineageError, match="no version"):
        index.upstream("metrics_report", "line7/bottle", "patchcore", "zz")
