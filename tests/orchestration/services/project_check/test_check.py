"""``uad check``: all that is wrong with the datasets at once, with the files counted, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from tests.orchestration.workshop import Workshop, normal_image, write_image
from uad_orchestrator.cli import app
from uad_orchestrator.orchestration.services.project_check.check import check_project


def faulty(tmp_path: Path) -> Workshop:
    """Five faults in two categories."""
    workshop = Workshop.build(tmp_path, {"alpha": ["disc", "ring"]})
    disc, ring = tmp_path / "data/alpha/disc", tmp_path / "data/alpha/ring"
    (disc / "ground_truth/scratch/000_mask.png").unlink()
    write_image(disc / "ground_truth/scratch/001_mask.png", normal_image(0)[:32, :32, 0])
    write_image(disc / "ground_truth/scratch/007_mask.png", normal_image(0)[..., 0])
    (ring / "train/good/000.png").write_bytes(b"not an image")
    (ring / "train/good/notes.txt").write_text("?")
    return workshop


def test_every_fault_of_every_category_is_found_at_once(tmp_path: Path) -> None:
    workshop = faulty(tmp_path)
    seen: list[tuple[str, int, int]] = []
    found = check_project(workshop.project, lambda *step: seen.append(step))
    assert [problem.where for problem in found.problems] == [
        "alpha/disc: disc/ground_truth/scratch/001_mask.png",
        "alpha/disc: disc/ground_truth/scratch/007_mask.png",
        "alpha/disc: disc/test/scratch/000.png",
        "alpha/ring: ring/train/good/000.png",
        "alpha/ring: ring/train/good/notes.txt",
    ]
    # all images are looked at, one by one, that without its mask, too
    assert seen == [("alpha/disc", n, 10) for n in range(1, 11)] + [
        ("alpha/ring", n, 10) for n in range(1, 11)
    ]
    assert not (tmp_path / ".uad").exists()


def test_the_command_prints_them_all_as_json_and_exits_with_1(tmp_path: Path) -> None:
    faulty(tmp_path)
    done = CliRunner().invoke(app, ["check", "--home", str(tmp_path), "--json"])
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["problems"]) == 5


def test_a_folder_that_nobody_records_to_is_said(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    workshop.edit(lambda values: values.update(line={"records": "recrods"}))
    (found,) = check_project(workshop.project).problems
    assert (found.where, found.severity) == ("line.records", "warning") and "has no records" in found.problem
    (tmp_path / "recrods/.writers").mkdir(parents=True)
    assert check_project(workshop.project).problems == ()
    workshop.edit(lambda values: values.update(line={"records": "uad.yaml"}))
    (found,) = check_project(workshop.project).errors
    assert "Not a directory" in found.problem
