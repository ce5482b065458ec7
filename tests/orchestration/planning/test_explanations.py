"""``uad why`` on a grid that was stored without computing anything: versions, causes, and questions that are wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.edits import gamma, image, section
from tests.orchestration.recorded_grid import Ledger, ledger_of
from tests.orchestration.workshop import EMBEDDER, Workshop
from uad_orchestrator.detectors import registry
from uad_orchestrator.metrics.thresholds import CALIBRATION_VERSION
from uad_orchestrator.orchestration.cells.board import keep_board
from uad_orchestrator.orchestration.planning.why import Explanation, WhyError, explain
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.reporting.board.leaderboard import build_leaderboard
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError
from uad_orchestrator.storage.provenance import Provenance

CELL = Cell("alpha/disc", "one")
CAUSES = ("1 normal image changed", "preset bright changed: gamma 1.0 -> 1.5")


def build(home: Path) -> Workshop:
    workshop = Workshop.build(home, {"alpha": ["disc", "ring"], "beta": ["disc"]}, train=1)
    one = {"model": "vision_patchcore", "embedder": EMBEDDER, "preset": "bright"}
    workshop.edit(lambda values: values.update(detectors={"one": one, "two": {**one, "preset": "plain"}}))
    return workshop


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One cell in two versions: as it was, and with another gamma and another training image."""
    with ledger_of(build(tmp_path_factory.mktemp("why") / "home")) as ledger:
        for figure, edits in ((0.981, ()), (0.957, (gamma, image("train/good/000.png")))):
            for edit in edits:
                edit(ledger.workshop)
            ledger.record_inputs(CELL)
            ledger.record_stages(CELL, metrics={"image_auroc": figure, "pixel_ap": 0.5, "aupro_0.3": None})
        yield ledger


@pytest.fixture
def ledger(stored: Ledger, tmp_path: Path) -> Ledger:
    shutil.copytree(stored.workshop.home, tmp_path / "home")
    return Ledger(Workshop(tmp_path / "home"), stored.instance)


def ask(ledger: Ledger, *question: str, since: str | None = None) -> Explanation:
    return explain(ledger.state, ledger.store, *question, since=since)


def versions(ledger: Ledger, asset: str) -> list[str]:
    """Newest first."""
    return ledger.store.versions(asset, "alpha", "disc", "one")


def test_the_current_version_and_all_it_was_made_from(ledger: Ledger) -> None:
    found = ask(ledger, "metrics_report", "alpha/disc", "one")
    assert found.tree.version == ledger.state.version("metrics_report", CELL)
    assert (found.note, found.comparison, found.causes) == (None, None, ())
    assert {node.name for node in found.tree.walk()} >= {*STAGES, "normal_images", "preprocessing_preset"}
    assert str(found) == str(found.tree)
    assert found.headlines() == []
    assert found.to_json() == found.tree.to_json() | {"note": None, "since": None, "chosen": [], "judged": []}


@pytest.mark.parametrize(
    ("question", "partition"),
    [
        (("normal_images", "alpha/disc"), ("alpha", "disc", None)),
        (("fit_settings", None, "one"), (None, None, "one")),
        (("checkpoint", "alpha/disc", "one"), ("alpha", "disc", "one")),
    ],
)
def test_inputs_are_found_by_their_own_part_of_the_grid(
    ledger: Ledger, question: tuple[str, ...], partition: tuple[str | None, ...]
) -> None:
    found = ask(ledger, *question)
    key = found.tree.key
    assert key is not None and (key.dataset, key.category, key.detector) == partition
    assert found.tree.version == ledger.state.version(question[0], CELL) and found.note is None


def test_where_the_current_one_is_not_there_the_newest_is_told_with_a_note(ledger: Ledger) -> None:
    newest = versions(ledger, "score_table")[0]
    section("evaluation", aupro_limits=[0.1])(ledger.workshop)
    assert ask(ledger, "score_table", "alpha/disc", "one").note is None, "the protocol is not read by it"
    image("train/good/000.png", 5000)(ledger.workshop)
    found = ask(ledger, "score_table", "alpha/disc", "one")
    assert found.tree.version == newest
    prefix = "This is the newest version there is, not the current one: "
    assert found.note == prefix + "what it reads changed since: see `uad plan`"
    assert str(found) == f"{found.tree}\n{found.note}"
    assert found.to_json()["note"] == found.note
    (ledger.workshop.home / "data/alpha/disc").rename(ledger.workshop.home / "gone")
    found = ask(ledger, "score_table", "alpha/disc", "one")
    assert found.note is not None and found.note.startswith(prefix + "normal_images of alpha/disc: ")


def test_what_was_never_made_says_the_command(ledger: Ledger) -> None:
    for question, place in (
        (("memory_bank", "alpha/ring", "two"), r"alpha/ring\|two"),
        (("normal_images", "beta/disc"), "beta/disc"),
        (("fit_settings", None, "two"), "two"),
    ):
        with pytest.raises(ArtifactError, match=f"^{question[0]} of {place} was never made: `uad refresh`$"):
            ask(ledger, *question)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=r"^leaderboard of the project was never made: `uad refresh`$"):
        ask(ledger, "leaderboard")


def test_since_the_version_before_and_since_one_that_is_named(ledger: Ledger) -> None:
    new, old = versions(ledger, "metrics_report")
    for since in ("previous", old, old[:9]):
        found = ask(ledger, "metrics_report", "alpha/disc", "one", since=since)
        assert found.comparison is not None
        assert (found.comparison.before, found.comparison.after) == (old, new)
        assert found.causes == CAUSES
        assert found.headlines() == [f"image_auroc 0.981 -> 0.957: {CAUSES[0]}; {CAUSES[1]}"]
        lines = str(found).splitlines()
        assert lines[:2] == [*found.headlines(), ""] and lines[2:] == found.comparison.lines()
        told = found.to_json()["since"]
        assert told["causes"] == list(found.causes) and told["headlines"] == found.headlines()
        assert (told["before"], told["after"]) == (old, new)
    same = ask(ledger, "metrics_report", "alpha/disc", "one", since=new)
    assert (same.causes, same.headlines()) == ((), ["nothing it reads changed"])
    with pytest.raises(ArtifactError, match=old[:12]):
        ask(ledger, "metrics_report", "alpha/disc", "one", since="zzz")


def test_an_only_version_has_none_before_it(ledger: Ledger) -> None:
    (only,) = ledger.store.versions("fit_settings", None, None, "one")
    with pytest.raises(ArtifactError, match=f"{only} is the only version in the store: there is no previous"):
        ask(ledger, "fit_settings", None, "one", since="previous")  # type: ignore[arg-type]


def test_an_input_is_told_by_its_own_contents(ledger: Ledger) -> None:
    found = ask(ledger, "preprocessing_preset", None, "one", since="previous")  # type: ignore[arg-type]
    assert found.causes == ("preset bright changed: gamma 1.0 -> 1.5",)
    assert found.headlines() == ["preset bright changed: gamma 1.0 -> 1.5"]


def test_a_figure_that_came_or_went_is_undefined_on_one_side(stored: Ledger, tmp_path: Path) -> None:
    with ledger_of(build(tmp_path / "home")) as ledger:
        for figures in ({"image_auroc": None, "pixel_ap": 0.25}, {"image_auroc": 0.5, "pixel_ap": 0.2504}):
            ledger.record_inputs(CELL)
            ledger.record_stages(CELL, metrics=figures)
            image("train/good/000.png")(ledger.workshop)
        found = ask(ledger, "metrics_report", "alpha/disc", "one", since="previous")
        assert found.headlines() == [
            "image_auroc undefined -> 0.500: 1 normal image changed",
            "pixel_ap 0.250 -> 0.250: 1 normal image changed",
        ]


def test_another_version_of_the_code_is_a_cause(
    stored: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger_of(build(tmp_path / "home")) as ledger:
        ledger.record_inputs(CELL)
        ledger.record_stages(CELL)
        spec = registry.DETECTORS["vision_patchcore"]
        version = spec.versions["scoring"] + CALIBRATION_VERSION
        monkeypatch.setitem(spec.versions, "scoring", spec.versions["scoring"] + 1)  # type: ignore[arg-type]
        ledger.record_stages(CELL, STAGES[1:])
        found = ask(ledger, "metrics_report", "alpha/disc", "one", since="previous")
        assert found.causes == (f"code version of score_table {version} -> {version + 1}",)
        assert found.headlines() == list(found.causes), "no figure moved"


def test_a_recipe_that_reads_more_or_less_says_so(ledger: Ledger) -> None:
    """As after an update whose graph is another: what was read by one of two versions only."""
    store, state = ledger.store, ledger.state
    reads = state.reads("memory_bank", CELL)
    for version, without in (("0001", "checkpoint"), ("0002", "fit_settings")):
        key = CELL.artifact_key("memory_bank", version)
        inputs = {name: read for name, read in reads.items() if name != without}
        with store.write(key, Provenance(**vars(key), stage_version=7, inputs=inputs)):
            pass
    current = ask(ledger, "memory_bank", "alpha/disc", "one", since="0001")
    stage_version = state.stage_version("memory_bank", CELL)
    assert set(current.causes) == {
        f"code version of memory_bank 7 -> {stage_version}",
        "now reads checkpoint",
    }
    shutil.rmtree(store.open_dir(CELL.artifact_key("memory_bank", current.tree.version)))
    newest = ask(ledger, "memory_bank", "alpha/disc", "one", since="0001")
    assert newest.tree.version == "0002"
    assert newest.causes == ("no longer reads fit_settings", "now reads checkpoint")


def test_the_board_changed_because_its_cells_did(ledger: Ledger) -> None:
    store = ledger.store
    for version, report in zip(("0001", "0002"), versions(ledger, "metrics_report")[::-1], strict=True):
        key = ArtifactKey("leaderboard", None, None, None, version)
        inputs = {"metrics_report@alpha/disc/one": report}
        with store.write(key, Provenance(**vars(key), inputs=inputs)):
            pass
    found = ask(ledger, "leaderboard", since="0001")
    assert (found.tree.version, found.note) == ("0002", None)
    assert found.causes == ("alpha/disc/one changed", *CAUSES)
    keep_board(store, build_leaderboard({}, {}), "0003")
    assert ask(ledger, "leaderboard").tree.version == "0003"
    assert ask(ledger, "leaderboard", since="0002").causes == (
        "no longer reads metrics_report@alpha/disc/one",
    )


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (("bank",), "there is no asset 'bank': expected one of dataset_category, normal_images, "),
        (("memory_bank",), "memory_bank needs a category: uad why memory_bank CATEGORY DETECTOR"),
        (("memory_bank", "disc"), "memory_bank needs a detector: uad why memory_bank CATEGORY DETECTOR"),
        (("memory_bank", None, "one"), "memory_bank needs a category: uad why memory_bank CATEGORY DETECTOR"),
        (
            ("normal_images", "alpha/disc", "one"),
            "normal_images has no detector: uad why normal_images CATEGORY",
        ),
        (
            ("fit_settings", "alpha/disc", "one"),
            "fit_settings has no category: uad why fit_settings DETECTOR",
        ),
        (("leaderboard", "alpha/disc"), "leaderboard has no category: uad why leaderboard"),
        (
            ("normal_images", "cube"),
            "0 categories match 'cube'; there are: alpha/disc, alpha/ring, beta/disc",
        ),
        (
            ("normal_images", "disc"),
            "2 categories match 'disc'; there are: alpha/disc, alpha/ring, beta/disc",
        ),
        (("fit_settings", None, "three"), "there is no detector 'three'; there are: one, two"),
    ],
)
def test_a_wrong_question_says_which_part_is_wrong(
    ledger: Ledger, question: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(WhyError) as error:
        ask(ledger, *question)
    assert str(error.value).startswith(said) and (question == ("bank",) or str(error.value) == said)


def test_a_category_may_be_named_alone_where_one_dataset_has_it(ledger: Ledger) -> None:
    ledger.record_inputs(Cell("alpha/ring", "one"))
    found = ask(ledger, "normal_images", "ring")
    assert found.tree.key is not None and found.tree.key.category == "ring"
    assert ask(ledger, "normal_images", "alpha/r*").tree.version == found.tree.version
