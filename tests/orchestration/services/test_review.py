"""Judgements in the life of a project: taken in on a person's word, scored again, and found again by who asks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop, normal_image, write_image
from tests.review.line import CATEGORY, DETECTOR, record_image
from uad_orchestrator.cli.app import app
from uad_orchestrator.orchestration.automation.recalibration import Recalibration
from uad_orchestrator.orchestration.automation.recalibration_schedule import _metadata
from uad_orchestrator.orchestration.cells.cell_run import CellRun, recipe_of
from uad_orchestrator.orchestration.cells.cell_stages import (
    fill_score_table,
    fit_memory_bank,
    make_anomaly_maps,
)
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.dagster_instance.input_metadata import describe_input
from uad_orchestrator.orchestration.ingestion.folders import list_quarantined
from uad_orchestrator.orchestration.ingestion.image_checks import KnownImages
from uad_orchestrator.orchestration.ingestion.ingest import IngestionResult, ingest_category
from uad_orchestrator.orchestration.ingestion.judged import filing_of
from uad_orchestrator.orchestration.services.review import NotReviewed, open_review
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_index, open_state, open_store, remember_input
from uad_orchestrator.review.filing import CannotJudge
from uad_orchestrator.review.judgement import Judged, Verdict
from uad_orchestrator.review.review import Review


def recorded(values: dict[str, Any]) -> None:
    values["datasets"]["line7"] |= {"layout": "folder", "incoming": "arriving"}
    values["detectors"] = {DETECTOR: values["detectors"][DETECTOR]}
    values["line"] = {"records": "records"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A cell that is up to date, and a line that stopped a defect, two normals, and one of another size."""
    workshop = Workshop.build(tmp_path_factory.mktemp("line"), {"line7": ["disc"]}, train=12)
    workshop.edit(recorded)
    (workshop.home / "arriving").mkdir()
    records = workshop.home / "records"
    record_image(records, 1, defective=True)
    record_image(records, 2)
    record_image(records, 3)
    odd = record_image(records, 4, picture="pictures/odd.png")
    write_image(records / CATEGORY / DETECTOR / odd.day / "pictures/odd.png", normal_image(4)[:32])
    compute(workshop)
    return workshop


def compute(workshop: Workshop) -> None:
    """The cell up to its maps, as a refresh computes it, without Dagster around it."""
    state, store = open_state(workshop.project), open_store(workshop.project)
    (cell,) = state.cells
    run = CellRun(cell, state, store)
    remember_input(store, state.input("normal_images", cell))
    for asset, stage in (
        ("memory_bank", fit_memory_bank),
        ("score_table", fill_score_table),
        ("anomaly_maps", make_anomaly_maps),
    ):
        key = run.key(asset)
        with store.write(key, recipe_of(run, asset, key, "")) as draft:
            stage(run, EmbedderPool(), draft.directory)


@pytest.fixture
def workshop(fitted: Workshop, tmp_path: Path) -> Workshop:
    return fitted.copied_to(tmp_path / "home")


def opened(workshop: Workshop, by: str = "anna") -> Review:
    return open_review(workshop.project, Selection(), by)


def judge(workshop: Workshop, number: int, verdict: Verdict, kind: str | None = None) -> Judged:
    review = opened(workshop)
    image = next(i for i in review.queue().images if i.newest.image == f"cam-{number}.png")
    return review.judge(CATEGORY, image.digest, verdict, kind, None)


def ingest(workshop: Workshop) -> IngestionResult:
    state = open_state(workshop.project)
    return ingest_category(state, open_store(workshop.project), EmbedderPool(), CATEGORY, settled_seconds=0.0)


def test_a_persons_word_takes_in_what_the_detectors_turn_away(workshop: Workshop) -> None:
    """The picture of a scratch, once with a person's word and once without."""
    judged = judge(workshop, 1, "normal")
    filed = Path(judged.filed_as or "")
    content = judged.judgement.content
    own = workshop.copied_to(workshop.home.parent / "without")
    (own.home / "records" / CATEGORY / "judgements.jsonl").unlink()
    (held,) = ingest(own).held
    assert "0 of 1 detectors find it normal" in held.reason

    result = ingest(workshop)
    path = f"disc/train/good/{filed.name}"
    assert filed.name == f"cam-1-{content[:12]}.png" and not filed.exists()
    assert (result.taken, result.held, result.faults) == ([path], [], [])
    said = judged.judgement
    assert result.to_json()["judged"] == {path: {"judgement": said.id, "by": "anna", "time": said.time}}
    with pytest.raises(CannotJudge, match="was taken in already, as disc/train/good/cam-1-"):
        opened(workshop).undo(CATEGORY, said.id)
    assert ingest(workshop).taken == []


def test_a_recalibration_counts_what_people_judged(fitted: Workshop) -> None:
    ingested = IngestionResult(CATEGORY, taken=["a", "b"], judged={"a": {"by": "anna"}})
    shown = _metadata(fitted.project, Recalibration("2026-11-26T06:00:00+00:00", ingested=[ingested]))
    assert (shown["taken_in"], shown["judged_normal"]) == (2, 1)


def test_a_judged_normal_is_still_checked(workshop: Workshop) -> None:
    judged = judge(workshop, 4, "normal")
    (held,) = ingest(workshop).held
    assert held.reason == "is 64x32 pixels; the category's normals are 64x64"
    (found,) = opened(workshop).judged()[CATEGORY]
    assert found.held_for == held.reason
    with pytest.raises(CannotJudge, match="it is in quarantine: is 64x32 pixels"):
        opened(workshop).undo(CATEGORY, judged.judgement.id)
    assert len(list_quarantined(workshop.project.datasets["line7"], "disc")) == 1


def test_an_ingestion_completes_what_a_killed_review_left_half_done(workshop: Workshop) -> None:
    normal, undone = judge(workshop, 2, "normal"), judge(workshop, 3, "normal")
    file = workshop.home / "records" / CATEGORY / "judgements.jsonl"
    judged, filed, *rest = file.read_text().splitlines()
    assert json.loads(filed)["event"] == "filed"
    cut = {"event": "undone", "id": undone.judgement.id, "time": "2026-11-26T07:00:00+00:00", "by": "ben"}
    file.write_text("\n".join([judged, *rest, json.dumps(cut)]) + "\n")
    Path(normal.filed_as or "").unlink()
    result = ingest(workshop)
    assert result.taken == [f"disc/train/good/{Path(normal.filed_as or '').name}"]
    assert not list((workshop.home / "arriving/disc").iterdir())


def test_since_recalibration_the_alarms_that_are_gone_are_counted(workshop: Workshop) -> None:
    judge(workshop, 2, "normal")
    defect = judge(workshop, 1, "defect", "scratch")
    (before,) = opened(workshop).outcome()
    assert "uad refresh" in before.reason, "the defect is a test image now, and not scored yet"
    assert len(ingest(workshop).taken) == 1
    compute(workshop)
    (cell,) = opened(workshop).outcome()
    assert cell.reason == "" and (cell.passed("normal"), cell.passed("defect")) == ((1, 1), (0, 1))
    assert [image.now.source for image in cell.images] == ["score table", "score table"]
    assert (
        cell.images[0].before == 0.731
        and cell.images[0].now.score < cell.threshold < cell.images[1].now.score
    )

    # Who asks later is told: SQL, also after a rebuild, and `uad why`.
    index = open_index(open_store(workshop.project), workshop.project.line.records)
    query = (
        "SELECT dataset, category, judged_by, verdict, defect_type, taken_as FROM judgement ORDER BY verdict"
    )
    rows = [("line7", "disc", "anna", "defect", "scratch", None)]
    taken = f"disc/train/good/cam-2-{cell.images[0].judged.judgement.content[:12]}.png"
    assert index.sql(query).rows == [*rows, ("line7", "disc", "anna", "normal", None, taken)]
    index.rebuild()
    plain = open_index(open_store(workshop.project))  # as any client that opens the file
    assert len(plain.sql(query).rows) == 2
    metadata = describe_input(
        open_state(workshop.project).input("dataset_category", Cell(CATEGORY, DETECTOR)),
        workshop.project.line.records,
    )
    assert metadata["judged_images"] == 2
    assert [row.data["by"] for row in metadata["first_judged"].records] == ["anna", "anna"]
    told = CliRunner().invoke(app, ["why", "normal_images", CATEGORY, "--home", str(workshop.home)])
    assert f"{taken}: judged normal by anna at " in told.stdout
    assert (
        "judged defect (scratch) by anna" in told.stdout and Path(defect.filed_as or "").name in told.stdout
    )


def test_images_that_are_not_in_the_score_table_are_scored_again(workshop: Workshop) -> None:
    judge(workshop, 2, "normal")
    judge(workshop, 3, "normal")
    lost = next((workshop.home / "records" / CATEGORY / DETECTOR).rglob(f"{3:032x}.png"))
    lost.unlink()
    (cell,) = opened(workshop).outcome()
    assert [image.now.source or image.now.fault for image in cell.images] == [
        "scored again",
        "its picture is not kept any more",
    ]
    assert cell.passed("normal") == (1, 1)


def test_judgements_nobody_made_are_an_empty_view(fitted: Workshop) -> None:
    index = open_index(open_store(fitted.project), fitted.project.line.records)
    assert index.sql("SELECT count(*) FROM judgement").rows == [(0,)]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Scratch", "there is 'scratch', which differs in case only"),
        ("good", "a word for normal images"),
        ("Ground-Truth", "taken for masks"),
        ("a/b", "holds '/'"),
        ("..", "begins with a dot"),
        ("", "is empty"),
        ("dent", None),
    ],
)
def test_a_new_type_of_defect_is_a_folder_that_the_layout_reads(
    fitted: Workshop, kind: str, said: str
) -> None:
    filing = filing_of(open_state(fitted.project), CATEGORY)
    assert filing.type_folders == {"scratch": "disc/test/scratch"}
    fault = filing.type_fault(kind)
    assert fault is None if said is None else said in (fault or "")


def test_a_type_has_to_stand_in_defect_folders_where_there_are_some(workshop: Workshop) -> None:
    workshop.edit(lambda values: values["datasets"]["line7"].update(defect_folders=["scratch"]))
    filing = filing_of(open_state(workshop.project), CATEGORY)
    assert "add it to the latter" in (filing.type_fault("dent") or "")


def test_an_excluded_image_does_not_come_back_by_another_door(workshop: Workshop) -> None:
    record = record_image(workshop.home / "records", 5)
    kept = workshop.home / "records" / CATEGORY / DETECTOR / record.day / str(record.picture)
    shutil.copy(kept, workshop.home / "data/line7/disc/train/good/odd.png")
    workshop.edit(lambda values: values["datasets"]["line7"].update(exclude=["disc/train/good/odd.png"]))
    with pytest.raises(CannotJudge, match="excludes this very image"):
        judge(workshop, 5, "normal")


@pytest.mark.parametrize(
    ("change", "verdicts", "said"),
    [
        ({"layout": "mvtec_ad", "incoming": None}, ("normal", "defect"), "never written to"),
        ({"incoming": None}, ("normal",), "no `incoming` folder"),
        ({"masks": "required"}, ("defect",), "masks: required"),
    ],
)
def test_what_cannot_be_said_is_told_before(
    workshop: Workshop, change: dict, verdicts: tuple, said: str
) -> None:
    workshop.edit(lambda values: values["datasets"]["line7"].update(change))
    for name in [name for name, value in change.items() if value is None]:
        workshop.edit(lambda values, name=name: values["datasets"]["line7"].pop(name))
    refusals = opened(workshop).categories[CATEGORY].filing().refusals()
    assert tuple(refusals) == verdicts and all(said in reason for reason in refusals.values())


def test_a_dataset_out_of_reach_is_told_before(workshop: Workshop) -> None:
    review = opened(workshop)
    shutil.move(workshop.home / "data", workshop.home / "elsewhere")
    assert "cannot be read" in review.categories[CATEGORY].filing().refusals()["normal"]


def test_the_command_says_what_is_missing(workshop: Workshop) -> None:
    def said(*options: str) -> tuple[int, str]:
        run = CliRunner().invoke(app, ["review", "--home", str(workshop.home), "--no-browser", *options])
        return run.exit_code, run.stderr

    code, text = said("--by", " ")
    assert code == 2 and "--by" in text
    shutil.rmtree(workshop.home / "records")
    code, text = said()
    assert code == 1 and "has no records of this project's cells" in text
    workshop.edit(lambda values: values.pop("line"))
    code, text = said()
    assert code == 1 and "line: {records: DIR}" in text
    with pytest.raises(NotReviewed):
        opened(workshop)


def test_a_word_said_while_an_ingestion_begins_counts(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking through the dataset's images takes a while: meanwhile people judge."""
    judged: list[Judged] = []
    looked = KnownImages.of

    def slowly(*of: Any) -> KnownImages:
        judged.append(judge(workshop, 1, "normal"))
        return looked(*of)

    monkeypatch.setattr(KnownImages, "of", slowly)
    result = ingest(workshop)
    assert (len(result.taken), result.held) == (1, [])
    assert [word["by"] for word in result.judged.values()] == ["anna"]
    (now,) = opened(workshop).judged()[CATEGORY]
    assert now.taken_as == result.taken[0]
