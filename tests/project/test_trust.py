"""Digests of checkpoints that may be loaded: from uad.yaml and from the file that ``uad trust`` writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from uad_orchestrator.cli import app
from uad_orchestrator.project import ProjectError, load_project
from uad_orchestrator.project.trust import TRUST_FILE, read_trusted, trust

PROJECT = "datasets: {demo: {}}\ndetectors: {p: {model: vision_patchcore}}\n"
DIGEST = "ab" * 32


def home_with(tmp_path: Path, more: str = "") -> Path:
    (tmp_path / "uad.yaml").write_text(PROJECT + more)
    return tmp_path


def test_digests_of_both_places_count(tmp_path: Path) -> None:
    home = home_with(tmp_path, f"trusted_checkpoints: [{DIGEST}]\n")
    (home / "model.pt").write_bytes(b"x")
    trust(home, [home / "model.pt"])
    assert load_project(home).trusted_checkpoints == (DIGEST, hashlib.sha256(b"x").hexdigest())


def test_the_command_notes_a_checkpoint_with_what_belongs_to_it(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    for name in ("model.xml", "model.bin"):
        (home / name).write_text(name)
    for _ in range(2):
        done = CliRunner().invoke(app, ["trust", str(home / "model.xml"), "--home", str(home)])
        assert done.exit_code == 0, done.output
    found = {hashlib.sha256(name.encode()).hexdigest() for name in ("model.xml", "model.bin")}
    assert set(load_project(home).trusted_checkpoints) == found
    lines = (home / TRUST_FILE).read_text().splitlines()
    assert lines[0].startswith("#") and len(lines) == 3, "a second time adds nothing"


def test_a_file_that_is_not_there_is_said_and_nothing_is_noted(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    done = CliRunner().invoke(app, ["trust", str(home / "model.xml"), "--home", str(home)])
    assert done.exit_code == 2
    assert not (home / TRUST_FILE).exists()


@pytest.mark.parametrize("value", ["abc", "3", "[abc]", "[12]", f"[{DIGEST}0]"])
def test_what_is_no_digest_is_an_error_of_the_file(tmp_path: Path, value: str) -> None:
    home = home_with(tmp_path, f"trusted_checkpoints: {value}\n")
    with pytest.raises(ProjectError, match=r"line 3, trusted_checkpoints.*SHA-256"):
        load_project(home)


def test_a_line_of_the_trust_file_that_is_no_digest_is_an_error(tmp_path: Path) -> None:
    home = home_with(tmp_path)
    (home / TRUST_FILE).write_text(f"# all is well\n\n{DIGEST.upper()}  a b.pt\nnonsense\n")
    with pytest.raises(ProjectError, match=r"line 4.*'nonsense'"):
        load_project(home)
    (home / TRUST_FILE).write_text(f"{DIGEST.upper()}  a b.pt\n")
    assert read_trusted(home) == (DIGEST,)
