"""The ``uad`` command as it is installed: what it prints, how it exits, what survives an interruption."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import tifffile

from tests.cli import invoke
from tests.end_to_end.ui_process import clean_environment, wait_for
from tests.orchestration.workshop import EMBEDDER, Workshop
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.orchestration.cells.artifact_files import read_operating_point
from uad_orchestrator.orchestration.cells.board import current_board
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

pytestmark = pytest.mark.end_to_end

DETECTORS = {"patchcore", "bright", "dino"}
CANARY = "canary8f3a51"
SECRETS = {
    name: f"{CANARY}-{name}"
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PGPASSWORD", "USER", "LOGNAME")
}
"""What the environment of every command holds, and nothing else may."""
PATIENCE = 300.0


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output."""
        return json.loads(self.out)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "uad_orchestrator.cli", *map(str, arguments)]


def uad(*arguments: str | Path) -> Answer:
    """Run ``uad`` to its end, in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        check=False,
        capture_output=True,
        text=True,
        env=clean_environment(**SECRETS),
        timeout=PATIENCE,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def answer(*arguments: str | Path) -> Answer:
    """The same in this process, which has imported all of it: what is asked is not how a process starts and ends."""
    done = invoke.uad(*arguments)
    return Answer(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A project's folder after ``uad refresh --json``, and what that said. Not to be changed."""
    home = tmp_path_factory.mktemp("commands")
    Workshop.build(home, {"alpha": ["disc"]})
    return home, uad("refresh", "--home", home, "--json")


@pytest.fixture
def copied(refreshed: tuple[Path, Answer], tmp_path: Path) -> Workshop:
    """A copy to change."""
    home = tmp_path / "home"
    shutil.copytree(refreshed[0], home)
    return Workshop(home)


def test_nothing_of_the_environment_is_kept_or_said(refreshed: tuple[Path, Answer]) -> None:
    home, answer = refreshed
    told = uad("why", "metrics_report", "alpha/disc", "patchcore", "--home", home)
    assert (answer.status, told.status) == (0, 0)
    assert all(CANARY not in text for said in (answer, told) for text in (said.out, said.err))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {"provenance.json", "uad.duckdb", "runs.db"} <= {path.name for path in files}
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_init_writes_a_project_once(tmp_path: Path) -> None:
    home = tmp_path / "line"
    assert answer("init", "--home", home).status == 0
    first = (home / "uad.yaml").read_text()
    again = answer("init", "--home", home)
    assert (again.status, again.out) == (2, "")
    assert "uad.yaml" in again.err
    assert (home / "uad.yaml").read_text() == first
    checked = answer("check", "--home", home, "--json")
    assert checked.status == 1
    assert any("data/line7" in str(problem) for problem in checked.json["problems"]), (
        "the images are not there"
    )


def test_refresh_says_what_it_did_in_json(refreshed: tuple[Path, Answer]) -> None:
    home, first = refreshed
    assert first.status == 0, first.err
    done = {(node["asset"], node["detector"]) for node in first.json["materialized"] if not node["reused"]}
    assert done >= {(stage, detector) for stage in STAGES for detector in DETECTORS}
    assert first.json["failed"] == []
    assert first.json["embedded_images"] == 20  # 6 + 4 images, behind two presets
    again = uad("refresh", "--home", home, "--json")
    assert (again.status, again.json["materialized"], again.json["embedded_images"]) == (0, [], 0)
    planned = uad("plan", "--home", home, "--json")
    assert (planned.status, planned.json["stale"]) == (0, [])


def test_leaderboard_in_every_format(refreshed: tuple[Path, Answer]) -> None:
    home, _ = refreshed
    rows = answer("leaderboard", "--home", home, "--format", "json").json["rows"]
    assert {(row["dataset"], row["category"], row["detector"]) for row in rows} == {
        ("alpha", "disc", detector) for detector in DETECTORS
    }
    for row in rows:
        assert 0 <= row["image_auroc"] <= 1 and 0 <= row["aupro_0.05"] <= 1
        assert row["threshold_source"]
    spread = list(csv.DictReader(io.StringIO(answer("leaderboard", "--home", home, "--format", "csv").out)))
    best = {row["detector"]: row["pixel_auroc"] for row in rows}
    shown = {row["detector"]: row["pixel_auroc"] for row in spread if row["detector"] in DETECTORS}
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(best, abs=1e-4)
    lines = answer("leaderboard", "--home", home, "--format", "md").out.splitlines()
    header = next(line for line in lines if line.startswith("|"))
    assert "image AUROC" in header
    assert all(line.count("|") == header.count("|") for line in lines if line.startswith("|"))
    assert any("patchcore" in line for line in lines)


def test_report_is_one_file_without_a_network(refreshed: tuple[Path, Answer], tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    said = uad("report", "--home", refreshed[0], "--output", output)
    assert (said.status, Path(said.out.strip())) == (0, output)
    html = output.read_text()
    assert all(name in html for name in DETECTORS)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html), "nothing is fetched"
    assert "data:image/" in html


def test_robustness_draws_and_tells_without_a_refit(refreshed: tuple[Path, Answer], tmp_path: Path) -> None:
    home, figure = refreshed[0], tmp_path / "drift.png"
    before = stamps(home)
    asked = [
        "robustness",
        "--home",
        home,
        "--category",
        "alpha/disc",
        "--detector",
        "[pb]*",
        "--drift",
        "jpeg",
    ]
    found = answer(*asked, "--output", figure, "--json")
    assert found.status == 0, found.err
    assert figure.read_bytes().startswith(b"\x89PNG") and found.json["figure"] == str(figure)
    rows = {(row["detector"], row["drift"], row["level"]) for row in found.json["rows"]}
    assert rows == {
        (name, "jpeg" if level else None, level) for name in ("patchcore", "bright") for level in range(6)
    }
    assert stamps(home) == before, "no artifact is written"
    wrong = answer("robustness", "--home", home, "--drift", "rain")
    assert wrong.status == 2 and "white_balance" in wrong.err


def test_check_finds_nothing_wrong(refreshed: tuple[Path, Answer]) -> None:
    found = answer("check", "--home", refreshed[0], "--json")
    assert (found.status, found.json["problems"]) == (0, [])


def test_sql_over_the_lineage(refreshed: tuple[Path, Answer]) -> None:
    home, _ = refreshed
    query = "SELECT count(DISTINCT detector) AS detectors FROM materialization WHERE asset = 'metrics_report'"
    found = answer("sql", query, "--home", home, "--json")
    assert (found.status, found.json) == (0, {"columns": ["detectors"], "rows": [[len(DETECTORS)]]})
    wrong = answer("sql", "SELECT nothing FROM nowhere", "--home", home)
    assert (wrong.status, wrong.out) == (2, "")
    assert "nowhere" in wrong.err


def test_wrong_usage_exits_with_2(copied: Workshop) -> None:
    assert answer("refresh", "--home", copied.home / "elsewhere").status == 2
    assert answer("refresh", "--home", copied.home, "--asset", "memory_bnak").status == 2
    copied.edit(lambda values: values["detectors"]["patchcore"]["coreset"].update(ratoi=0.1))
    wrong = uad("refresh", "--home", copied.home, "--json")
    assert (wrong.status, wrong.out) == (2, "")
    assert "detectors.patchcore.coreset.ratoi" in wrong.err and "ratio" in wrong.err


def test_a_failed_cell_exits_with_1_and_stands_on_the_board(copied: Workshop) -> None:
    (copied.home / "data/alpha/disc/test/good/000.png").write_bytes(b"no image")
    failed = uad("refresh", "--home", copied.home, "--json")
    assert failed.status == 1
    assert {(node["asset"], node["detector"]) for node in failed.json["failed"]} == {
        ("score_table", detector) for detector in DETECTORS
    }
    assert all("000.png" in node["error"] for node in failed.json["failed"])
    rows = answer("leaderboard", "--home", copied.home, "--format", "json").json["rows"]
    assert all(row["status"] == "failed" and "000.png" in row["reason"] for row in rows)


def test_benchmark_twice_computes_once(refreshed: tuple[Path, Answer], tmp_path: Path) -> None:
    output = tmp_path / "runs" / "disc.json"
    asked = [
        "benchmark",
        "--dataset",
        "mvtec_ad",
        "--root",
        refreshed[0] / "data/alpha",
        "--category",
        "disc",
    ]
    asked += ["--model", "vision_patchcore", "--set", f"embedder.image_size={EMBEDDER['image_size']}"]
    asked += ["--set", "coreset.ratio=0.1", "--device", "cpu", "--output", output]
    first = uad(*asked)
    assert first.status == 0, first.err
    report = MetricsReport.from_json(output.read_bytes())
    assert (report.category, report.counts.n_train) == ("disc", 6)
    artifacts = stamps(tmp_path)
    output.unlink()
    assert uad(*asked).status == 0
    assert stamps(tmp_path) == artifacts, "nothing is computed again"
    assert MetricsReport.from_json(output.read_bytes()) == report


def test_an_interrupted_refresh_goes_on_where_it_stopped(
    refreshed: tuple[Path, Answer], tmp_path: Path
) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    asked = interrupt_refresh(workshop.home, signal.SIGINT)
    assert asked.status == 130
    assert "run the same command again" in asked.err and "Traceback" not in asked.err
    killed = interrupt_refresh(workshop.home, signal.SIGKILL)
    assert killed.status == -signal.SIGKILL
    kept = stamps(workshop.home)
    assert 2 <= len(kept) < len(STAGES) * len(DETECTORS), "each got on, none was done"

    going_on = uad("refresh", "--home", workshop.home, "--json")
    assert going_on.status == 0, going_on.err
    computed = [n for n in going_on.json["materialized"] if n["asset"] in STAGES and not n["reused"]]
    assert len(computed) == len(STAGES) * len(DETECTORS) - len(kept), "what was finished is not done again"
    assert kept.items() <= stamps(workshop.home).items()
    assert unfinished_runs(workshop) == []
    assert workshop.plan().stale == ()
    assert figures(workshop) == figures(Workshop(refreshed[0])), "as if it had never been interrupted"


def interrupt_refresh(home: Path, blow: signal.Signals) -> Answer:
    """Start ``uad refresh`` and strike as soon as one more artifact is there."""
    before = len(stamps(home))
    process = subprocess.Popen(
        command("refresh", "--home", home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
    )
    wait_for(lambda: len(stamps(home)) > before or process.poll() is not None, PATIENCE, "one more artifact")
    process.send_signal(blow)
    out, err = process.communicate(timeout=PATIENCE)
    return Answer(process.returncode, out, err)


def stamps(folder: Path) -> dict[Path, int]:
    """When the provenance of each computed artifact was written, by its place in the store."""
    found: dict[Path, int] = {}
    for store in folder.rglob("artifacts"):
        for stage in STAGES:
            files = store.glob(f"{stage}/*/*/*/*/provenance.json")
            found |= {path.relative_to(store): path.stat().st_mtime_ns for path in files}
    return found


def figures(workshop: Workshop) -> dict[str, Any]:
    """The metrics and thresholds of each detector."""
    board = current_board(open_state(workshop.project), open_store(workshop.project)).to_json()
    kinds = ("image_", "pixel_", "aupro_", "threshold")
    return {
        row["detector"]: {k: v for k, v in row.items() if k.startswith(kinds)}
        for row in json.loads(board)["rows"]
    }


def unfinished_runs(workshop: Workshop) -> list[str]:
    """Runs that Dagster believes to be under way."""
    with open_instance(workshop.project) as instance:
        wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
        return [run.run_id for run in instance.get_runs(wanted)]


def test_a_cell_goes_to_the_line_as_a_bundle(refreshed: tuple[Path, Answer], tmp_path: Path) -> None:
    """Exported, run where there is no project, and the scores are the benchmark's to the last bit."""
    home, _ = refreshed
    exported = uad("export", "bundle", "--home", home, "--detector", "dino", "--output", tmp_path / "bundle")
    assert exported.status == 0, exported.err
    project = Workshop(home).project
    run = CellRun(Cell("alpha/disc", "dino"), open_state(project), open_store(project))
    rows = {row.image: row.score for row in read_scores(run.directory("score_table")) if row.role == "test"}
    tests = home / "data/alpha/disc/test"
    found = uad("infer", "--bundle", tmp_path / "bundle", "--json", "--maps", tmp_path / "maps", tests)
    assert found.status == 3, found.err
    scores = {Path(row["image"]): row["score"] for row in found.json["results"]}
    assert scores == {home / "data/alpha" / image: score for image, score in rows.items()}
    maps = run.directory("anomaly_maps") / "maps"
    for defect in ("good", "scratch"):
        benchmark, line = maps / defect / "000.tiff", tmp_path / "maps" / defect / "000.png.tiff"
        assert np.array_equal(tifffile.imread(line), tifffile.imread(benchmark))
    assert found.json["threshold"] == read_operating_point(run.directory("score_table")).threshold
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "image_auroc" in card and run.key("metrics_report").version in card
    same = uad("infer", "--home", home, "--detector", "dino", "--json", tests)
    assert [row["score"] for row in same.json["results"]] == [row["score"] for row in found.json["results"]]
    several = uad("infer", "--home", home, tests)
    assert several.status == 2 and "3 cells match" in several.err


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Where tests run in a shell's background they ignore Ctrl-C, and so would the processes they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_watching_ends_with_ctrl_c(refreshed: tuple[Path, Answer], tmp_path: Path) -> None:
    home, _ = refreshed
    line = tmp_path / "line"
    line.mkdir()
    source = home / "data/alpha/disc/test/scratch/000.png"
    shutil.copy(source, line / "first.png")
    watch = ["infer", "--home", home, "--detector", "patchcore", "--json", "--watch", line]
    process = subprocess.Popen(
        command(*watch),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
    )
    try:
        first = json.loads(process.stdout.readline())
        shutil.copy(source, line / "second.png")
        (line / "third.png").write_bytes(source.read_bytes()[:-20])
        rest = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    by_name = {Path(row["image"]).name: row for row in (first, *rest)}
    assert by_name["first.png"]["label"] == by_name["second.png"]["label"] == 1
    assert "cut short" in by_name["third.png"]["error"]
