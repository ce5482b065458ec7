"""``uad report`` on a project that was refreshed: a folder of pages from its artifacts, and the single file."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.invoke import uad
from tests.inference.records.made_up import made_records
from tests.orchestration.workshop import EMBEDDER, Workshop, normal_image, write_ad2_category, write_image
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.inference.records.health import CalibrationNormals, DayOfRecords, health_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.line_day import health_file
from uad_orchestrator.orchestration.services import reports
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.storage.atomic import write_text

CATEGORY = "ad2/vial"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A category with labelled test images and others without a label; two detectors."""
    home = tmp_path_factory.mktemp("reported")
    vial = home / "data/ad2/vial"
    write_ad2_category(vial, 1000)
    for number in range(2):
        write_image(vial / f"test_private/{number:03d}_regular.png", normal_image(2000 + number))
    patchcore = {"model": "vision_patchcore", "embedder": EMBEDDER}
    found = Workshop(home)
    found.write(
        {
            "storage": {"root": ".uad"},
            "datasets": {"ad2": {"layout": "mvtec_ad2", "root": "data/ad2"}},
            "detectors": {"patchcore": patchcore, "third": {**patchcore, "n_neighbors": 3}},
        }
    )
    assert not found.refresh().failed
    return found


def data(folder: Path, name: str) -> dict[str, Any]:
    """What a script of data hands over."""
    text = (folder / f"data/{CATEGORY}/{name}.js").read_text("utf-8")
    found = re.search(r"^report\w+\((.*)\);$", text, re.MULTILINE)
    assert found
    return json.loads(found[1])


def test_the_pages_say_what_the_artifacts_hold(workshop: Workshop) -> None:
    done = uad("report", "--home", workshop.home)
    assert done.exit_code == 0, done.output
    index = Path(done.stdout.strip())
    assert index == workshop.home / ".uad/report/index.html" and CATEGORY in index.read_text("utf-8")
    folder, images = index.parent, data(index.parent, "_")["images"]
    assert Counter(image["type"] for image in images) == {"good": 2, "bad": 2, "test_private": 2}
    assert [image["label"] for image in images if image["type"] == "test_private"] == [-1, -1]
    state, store = open_state(workshop.project), open_store(workshop.project)
    for detector in ("patchcore", "third"):
        run, cell = CellRun(Cell(CATEGORY, detector), state, store), data(folder, detector)
        scores = {
            row.image: row.score
            for row in read_scores(run.directory("score_table"))
            if row.role != "calibration"
        }
        assert dict(zip([image["name"] for image in images], cell["scores"], strict=True)) == scores
        assert len(list((folder / cell["maps"]).glob("*.png"))) == 6 and cell["unmapped"] == []
        page = (folder / f"cells/{CATEGORY}/{detector}.html").read_text("utf-8")
        assert run.key("score_table").version[:12] in page and "sheet.jpg" in page
    assert (workshop.home / ".uad/report.html").stat().st_size > 50_000, "a small board is one file, too"


def test_a_single_file_where_it_is_asked_for(workshop: Workshop, tmp_path: Path) -> None:
    for asked in (["--single-file", "--output", tmp_path / "one"], ["--output", tmp_path / "two.html"]):
        done = uad("report", "--home", workshop.home, *asked)
        path = Path(done.stdout.strip())
        assert path == asked[-1] and path.is_file() and "data:image/jpeg" in path.read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two.html"]


def test_a_larger_board_is_pages_alone(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = workshop.copied_to(tmp_path / "copy")
    monkeypatch.setattr(reports, "SMALL_BOARD", 1)
    assert uad("report", "--home", copy.home).exit_code == 0
    assert (copy.home / ".uad/report/index.html").is_file()
    (copy.home / ".uad/report.html").unlink(missing_ok=True)
    assert uad("report", "--home", copy.home).exit_code == 0
    assert not (copy.home / ".uad/report.html").exists()


def test_a_folder_of_something_else_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = uad("report", "--home", workshop.home, "--output", tmp_path)
    assert done.exit_code == 2 and "holds other files" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_cell_has_no_page_and_its_links_lead_nowhere_else(
    workshop: Workshop, tmp_path: Path
) -> None:
    copy = workshop.copied_to(tmp_path / "copy")
    uad("report", "--home", copy.home)
    scores = next((copy.home / ".uad/artifacts/score_table").rglob("third/*/scores.parquet"))
    scores.write_bytes(scores.read_bytes()[:100])
    copy.edit(
        lambda values: values.update(costs={"false_alarm": 1, "miss": 5, "defect_rate": 0.1})
    )  # drawn anew
    done = uad("report", "--home", copy.home)
    assert done.exit_code == 0, done.output
    folder = copy.home / ".uad/report"
    assert not (folder / f"cells/{CATEGORY}/third.html").exists()
    assert (folder / f"cells/{CATEGORY}/patchcore.html").exists()
    assert f"cells/{CATEGORY}/third.html" not in (folder / "index.html").read_text("utf-8")


def test_days_of_the_line_stand_on_the_page_of_their_cell_and_a_new_one_draws_it_anew(
    workshop: Workshop, tmp_path: Path
) -> None:
    copy = workshop.copied_to(tmp_path / "copy")
    copy.edit(lambda values: values.update(line={"records": "records"}))
    cell, pages = Cell(CATEGORY, "patchcore"), copy.home / f".uad/report/cells/{CATEGORY}"
    shown = []
    for day in ("2026-11-26", "2026-11-27"):
        records = list(made_records(day, [0.5] * 60, threshold=0.4))
        health = health_of(
            DayOfRecords.of(cell.category, cell.detector, day, "", "", records), CalibrationNormals()
        )
        write_text(health_file(copy.project, cell, day), health.model_dump_json())
        assert uad("report", "--home", copy.home).exit_code == 0
        shown.append((pages / "patchcore.html").read_text("utf-8"))
        assert "The line: share of parts" not in (pages / "third.html").read_text("utf-8")
    assert "The line: share of parts" in shown[0] and "2026-11-26 to 2026-11-26" in shown[0]
    assert "2026-11-26 to 2026-11-27; on the last day 60 parts, 100.0% rejected" in shown[1]
    assert "2026-11-26 to 2026-11-27" in (copy.home / ".uad/report.html").read_text("utf-8")
