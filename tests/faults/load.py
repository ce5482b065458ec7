"""``--minutes M``: eight processes at one project at once: refreshes, readers, gc, the UI; its files change meanwhile.

Afterwards nothing may be lost, and the figures are those of a project that one process computed.
"""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cli.invoke import uad
from tests.end_to_end.ui_process import Server, clean_environment, running_ui
from tests.faults.kills import draw_change, two_detectors
from tests.faults.outcomes import Outcome, Tally
from tests.faults.soundness import figures, losses
from tests.orchestration.workshop import Workshop

MOST_SECONDS = 1200.0
"""Of one command among the others, on a busy machine."""

REFRESHES = (["refresh"], ["refresh", "--workers", "2"], ["refresh", "--category", "alpha/disc"])
QUESTIONS = (
    ["plan"],
    ["leaderboard"],
    ["sql", "SELECT count(*) FROM current_materialization"],
    ["why", "metrics_report", "alpha/disc", "patchcore"],
)
ACTORS = (*((command,) for command in REFRESHES), QUESTIONS, QUESTIONS[::-1], QUESTIONS[2:], (["gc"],))
"""What each process does, over and over; the eighth is the UI."""

CHANGE_SECONDS = 20.0
"""From one change of the project's files to the next."""

MEANWHILE = (
    "changed while",
    "is tried again",
    "is open in another process",
    "was never made",
    "is not there in version",
    "no such file",
)
"""Words of errors that are true of a project that somebody changes at the same time."""

PAGES = (
    "{assetNodes {id assetKey {path} isPartitioned staleStatus}}",
    "{assetNodes {assetMaterializations(limit: 5) {timestamp partition}}}",
    "{runsOrError(limit: 20) {... on Runs {results {status tags {key value}}}}}",
)


def try_load(minutes: float, seed: int, folder: Path) -> Tally:
    """Let eight processes at one project.

    Args:
        minutes: for how long.
        seed: of the changes to its files.
        folder: empty.
    """
    tally = Tally("minutes")
    crowded = Workshop.build(folder / "crowded", {"alpha": ["disc", "ring"]})
    crowded.edit(two_detectors)
    assert uad("refresh", "--home", crowded.home).exit_code == 0
    end = time.monotonic() + 60 * minutes
    with running_ui(crowded.home) as server:
        jobs = [(_act, (crowded.home, commands, end, tally, seed)) for commands in ACTORS]
        jobs += [(_browse, (server, end, tally, seed)), (_change, (crowded, end, seed))]
        threads = [threading.Thread(target=work, args=arguments) for work, arguments in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for fault in _afterwards(crowded, folder / "alone"):
        tally.add(Outcome("afterwards", "", seed, fault))
    return tally


def _act(home: Path, commands: tuple[list[str], ...], end: float, tally: Tally, seed: int) -> None:
    """One process after the other, until the time is up."""
    for command in itertools.cycle(commands):
        if time.monotonic() > end:
            return
        tally.add(_run(home, command, seed))


def _run(home: Path, command: list[str], seed: int) -> Outcome:
    line = [sys.executable, "-m", "uad_orchestrator.cli", *command, "--home", str(home)]
    try:
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, env=clean_environment(), timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Outcome(command[0], "a hang", seed, f"no end within {MOST_SECONDS:g} s")
    if done.returncode == 0:
        return Outcome(command[0], "done", seed)
    told = "Traceback" not in done.stderr and any(words in done.stderr for words in MEANWHILE)
    said = "; ".join(line for line in done.stderr.splitlines() if not line.startswith("Warning: "))
    fault = None if told else f"ends with {done.returncode}: {said[-600:]}"
    return Outcome(command[0], "says that the project changed meanwhile", seed, fault)


def _browse(server: Server, end: float, tally: Tally, seed: int) -> None:
    """What the UI's pages ask."""
    for page in itertools.cycle(PAGES):
        if time.monotonic() > end:
            return
        try:
            server.ask(page)
        except Exception as error:
            tally.add(Outcome("UI", "an error", seed, f"{page}: {error!r}"))
        else:
            tally.add(Outcome("UI", "answered", seed))
        time.sleep(0.5)


def _change(workshop: Workshop, end: float, seed: int) -> None:
    """Images come and go, settings are edited."""
    draws = random.Random(seed)
    while time.monotonic() + CHANGE_SECONDS < end:
        draw_change(draws, ["disc", "ring"])(workshop)
        time.sleep(CHANGE_SECONDS)


def _afterwards(crowded: Workshop, alone: Path) -> Iterator[str]:
    last = uad("refresh", "--home", crowded.home)
    if last.exit_code != 0:
        yield f"the last refresh ends with {last.exit_code}: {last.stderr[-600:]} {last.exception!r}"
        return
    yield from losses(crowded.home)
    shutil.copytree(crowded.home, alone, ignore=shutil.ignore_patterns(".uad"))
    assert uad("refresh", "--home", alone).exit_code == 0
    if figures(crowded.home) != figures(alone):
        yield "the metrics differ from those of a project that one process computed"
