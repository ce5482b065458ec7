"""What a project has computed and remembers is damaged: mended by a refresh, or an error that says what to do."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from click.testing import Result

from tests.cli.invoke import uad
from tests.faults.damage import DAMAGES, trapped
from tests.faults.damaged_files import Files
from tests.faults.outcomes import Outcome
from tests.faults.soundness import INDEXED, figures, losses
from tests.orchestration.workshop import Workshop

GONE, EMPTY, FOLDER, TRAP = "gone", "empty", "a folder in its place", "a trap in its place"

GROUPS: dict[str, tuple[str, ...]] = {
    "artifacts": ("artifacts/*_bank/**/*", "artifacts/*_*/**/*", "artifacts/**/provenance.json"),
    "index": ("uad.duckdb", "lineage/**/*.json"),
    "Dagster's store": ("dagster/**/*.db", "dagster/*.yaml"),
    "what is remembered": ("digests.sqlite", "*.json", "embeddings/**/*", "findings/**/*", "failures/**/*"),
}
"""Files below ``.uad``, by what a damage of them may end in."""


class Grid:
    """A small project that is up to date, and what its figures are.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def home(self) -> Path:
        """The project's folder; not to be changed."""
        workshop = Workshop.build(self.folder / "sound", {"alpha": ["disc"]})
        workshop.edit(lambda values: values["detectors"].pop("dino"))
        workshop.edit(lambda values: values["detectors"].pop("bright"))
        assert not workshop.refresh().failed
        return workshop.home

    @cached_property
    def figures(self) -> dict[str, dict[str, float | None]]:
        """Its metrics."""
        return figures(self.home)


def try_state(grid: Grid, files: Files, draws: random.Random, seed: int) -> Outcome:
    """Damage one file of a copy, ask, refresh, and look whether all is as before."""
    home = grid.folder / "damaged"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(grid.home, home)
    group = draws.choice(sorted(GROUPS))
    patterns = [sorted((home / ".uad").glob(pattern)) for pattern in GROUPS[group]]
    victim = draws.choice([path for found in patterns for path in found if path.is_file()])
    how = _damage(victim, files, draws)
    faults = list(_read(home))
    advised, refreshed = _refresh_as_advised(home)
    if refreshed.exit_code != 0:
        faults.append(
            f"refresh ends with {refreshed.exit_code}: {refreshed.stderr[-400:]} {refreshed.exception!r}"
        )
    else:
        faults += losses(home, set_aside=True)
        if figures(home) != grid.figures:
            faults.append("other metrics than before, and not a word")
    said = f"({victim.relative_to(home)}) {'; '.join(faults)}" if faults else None
    came = f"said to {advised}, which mends it" if advised else "mended by a refresh"
    return Outcome(f"{group}: {how}", came, seed, said)


def _refresh_as_advised(home: Path) -> tuple[str, Result]:
    """A refresh, and what errors in words said to do about the stores that no refresh mends."""
    advised = ""
    refreshed = uad("refresh", "--rehash", "--home", home)
    if _says(refreshed, str(home / ".uad/dagster"), "move that folder aside"):
        advised = "move Dagster's store aside"
        shutil.move(home / ".uad/dagster", home / "aside")
        refreshed = uad("refresh", "--home", home)
    settings = home / ".uad/dagster/dagster.yaml"
    if _says(refreshed, str(settings), "s a directory" if settings.is_dir() else "remove it"):
        advised = "remove dagster.yaml"
        settings.rmdir() if settings.is_dir() else settings.unlink()
        refreshed = uad("refresh", "--home", home)
    asked = [uad("sql", f"FROM {table}", "--home", home) for table in INDEXED]
    if any(_says(answer, "uad.duckdb", "run `uad lineage rebuild`") for answer in asked):
        advised = "rebuild the index"
        if (home / ".uad/uad.duckdb").is_dir():
            assert _says(uad("lineage", "rebuild", "--home", home), "uad.duckdb", "s a directory")
            (home / ".uad/uad.duckdb").rmdir()
        assert uad("lineage", "rebuild", "--home", home).exit_code == 0
    return advised, refreshed


def _damage(victim: Path, files: Files, draws: random.Random) -> str:
    how = draws.choice([*DAMAGES, GONE, EMPTY, FOLDER, TRAP])
    data = victim.read_bytes()
    victim.unlink()
    if how == FOLDER:
        victim.mkdir()
    elif how != GONE:
        new = (
            trapped(files.canary)
            if how == TRAP
            else DAMAGES[how](data, draws)
            if data and how != EMPTY
            else b""
        )
        victim.write_bytes(new)
    return how


def _read(home: Path) -> Iterator[str]:
    """What only reads answers, or says in words why not."""
    for command in (["plan"], ["leaderboard"], ["sql", "FROM current_materialization"]):
        found = uad(*command, "--home", home)
        if not isinstance(found.exception, SystemExit | None):
            yield f"uad {command[0]} ends with a traceback: {found.exception!r}"


def _says(result: Result, *words: str) -> bool:
    """Whether a command ended with an error in these words, and without a traceback."""
    told = isinstance(result.exception, SystemExit) and result.exit_code in (1, 2)
    return told and all(word in result.stderr for word in words)
