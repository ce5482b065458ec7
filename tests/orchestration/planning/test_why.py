"""``uad why``: the lineage down to image manifests and weights, and what changed since an earlier version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop, normal_image, write_image
from uad_orchestrator.cli import app
from uad_orchestrator.orchestration.planning.why import Explanation, WhyError, explain
from uad_orchestrator.orchestration.versions.graph import NODES
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.storage.artifacts import ArtifactError


def one_cell(home: Path) -> Workshop:
    built = Workshop.build(home, {"alpha": ["disc"]})
    built.edit(lambda values: values.update(detectors={"robust": values["detectors"]["bright"]}))
    return built


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One cell in three versions: as it was, with another gamma, with two more normal images."""
    built = one_cell(tmp_path_factory.mktemp("grid"))
    built.refresh()
    built.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=1.2))
    built.refresh()
    for n in (6, 7):
        write_image(built.home / f"data/alpha/disc/train/good/00{n}.png", normal_image(30 + n))
    assert not built.refresh().failed
    return built


def ask(workshop: Workshop, *question: str, since: str | None = None) -> Explanation:
    return explain(open_state(workshop.project), open_store(workshop.project), *question, since=since)


def versions(workshop: Workshop, asset: str) -> list[str]:
    """Newest first."""
    return open_store(workshop.project).versions(asset, "alpha", "disc", "robust")


def test_the_tree_reaches_every_node_above_down_to_images_and_weights(workshop: Workshop) -> None:
    found = ask(workshop, "metrics_report", "alpha/disc", "robust")
    assert found.note is None
    above = {node.name for node in found.tree.walk()}
    assert above == set(NODES) - {"leaderboard", "dataset_category"}
    assert all(node.provenance is not None for node in found.tree.walk()), "an input was not kept"
    text = str(found)
    for words in ("8 images", "4 labels, 2 masks", "gamma 1.2", "ratio 0.1", "aupro_limits 0.3, 0.05"):
        assert words in text


def test_since_says_which_metric_moved_and_why(workshop: Workshop) -> None:
    _, middle, first = versions(workshop, "metrics_report")
    found = ask(workshop, "metrics_report", "alpha/disc", "robust", since=first[:10])
    assert found.causes == ("2 new normal images", "preset bright changed: gamma 1.0 -> 1.2")
    found = ask(workshop, "metrics_report", "alpha/disc", "robust", since=middle)
    assert found.causes == ("2 new normal images",)
    assert found.comparison is not None
    moved = {change.place for change in found.comparison.metrics}
    assert {line.split()[0] for line in found.headlines()} == (moved or {"2"})
    assert all(line.endswith("2 new normal images") for line in found.headlines())


def test_previous_is_the_version_before(workshop: Workshop) -> None:
    found = ask(workshop, "memory_bank", "disc", "robust", since="previous")
    assert found.comparison is not None
    assert found.comparison.before == versions(workshop, "memory_bank")[1]
    assert any(line.startswith("bank_rows") for line in found.headlines())


def test_plan_and_why_speak_alike(tmp_path: Path) -> None:
    """A change that is planned and one that was made are told in the same words."""
    workshop = one_cell(tmp_path)
    workshop.refresh()
    workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=1.5))
    planned = [node.reasons for node in workshop.plan().stale if node.asset == "memory_bank"]
    stale = ask(workshop, "memory_bank", "alpha/disc", "robust")
    assert stale.note is not None
    assert stale.tree.version == versions(workshop, "memory_bank")[0]
    before = stale.tree.version
    workshop.refresh()
    made = ask(workshop, "memory_bank", "alpha/disc", "robust", since=before)
    assert planned == [made.causes] == [("preset bright changed: gamma 1.0 -> 1.5",)]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (("bank",), "memory_bank"),
        (("memory_bank",), "needs a category"),
        (("memory_bank", "alpha/disc"), "needs a detector"),
        (("leaderboard", "alpha/disc"), "has no category"),
        (("memory_bank", "cube", "robust"), "alpha/disc"),
        (("memory_bank", "disc", "patchcore"), "robust"),
    ],
)
def test_a_wrong_question_says_what_there_is(
    workshop: Workshop, question: tuple[str, ...], said: str
) -> None:
    with pytest.raises(WhyError, match=said):
        ask(workshop, *question)


def test_an_unknown_version_lists_those_there_are(workshop: Workshop) -> None:
    with pytest.raises(ArtifactError, match=versions(workshop, "score_table")[0][:12]):
        ask(workshop, "score_table", "disc", "robust", since="zzz")


def test_the_command(workshop: Workshop) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["why", *arguments, "--home", str(workshop.home)])
        assert done.exit_code == 0, done.output
        return done.stdout

    tree = json.loads(run("leaderboard", "--json"))
    assert tree["upstream"][0]["name"] == "metrics_report@alpha/disc/robust"
    assert "steps" in json.loads(run("preprocessing_preset", "robust", "--json"))["holds"]
    assert json.loads(run("normal_images", "alpha/disc", "--json"))["holds"] == {"images": 8}
    since = json.loads(run("metrics_report", "disc", "robust", "--since", "previous", "--json"))["since"]
    assert since["causes"] == ["2 new normal images"]
    refused = CliRunner().invoke(app, ["why", "memory_bank", "--home", str(workshop.home)])
    assert refused.exit_code == 2


def test_inputs_are_told_without_a_grid(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    with pytest.raises(ArtifactError, match="never made"):
        ask(workshop, "memory_bank", "disc", "patchcore")
