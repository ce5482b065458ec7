"""``--kills N``: a refresh is killed at a random moment, N times, while the project changes; nothing may be lost.

Every fourth one is the command as a user starts it, imports and all; the others are forked with the imports done.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.cli.invoke import uad
from tests.end_to_end.ui_process import clean_environment
from tests.faults.outcomes import Outcome, Tally
from tests.faults.soundness import figures, losses
from tests.orchestration.workshop import Workshop, defective_image, normal_image, write_image

CONTROLLED_EVERY = 4
"""Cycles from one comparison with the project that nobody disturbs to the next."""

REAL_EVERY = 4
PATIENCE = 120.0
"""Seconds until a refresh writes first, and until what was killed, and its workers, have ended."""

PRELOADED = ["uad_orchestrator.cli", "uad_orchestrator.orchestration.execution.refresh", "tests.faults.kills"]


def try_kills(count: int, seed: int, folder: Path, categories: Sequence[str] = ("disc", "ring")) -> Tally:
    """Kill ``count`` refreshes of one project.

    Args:
        count: of kills.
        seed: of the first; each has the next one.
        folder: empty; the projects are made in it.
        categories: that the projects have.
    """
    tally = Tally("kills")
    disturbed = Workshop.build(folder / "disturbed", {"alpha": list(categories)})
    disturbed.edit(two_detectors)
    shutil.copytree(disturbed.home, folder / "control")
    cycles = _Cycles(disturbed, Workshop(folder / "control"))
    for number in range(count):
        compared = number % CONTROLLED_EVERY == CONTROLLED_EVERY - 1 or number == count - 1
        tally.add(cycles.run(seed + number, compared))
    return tally


def two_detectors(values: dict[str, Any]) -> None:
    """A plain one, and one behind a preset that changes."""
    del values["detectors"]["dino"]


@dataclass
class _Cycles:
    """A project whose refreshes are killed, and one with the same changes that nobody disturbs.

    Attributes:
        seconds: that a refresh takes here, by the last one; moments to kill at are drawn from it.
    """

    disturbed: Workshop
    control: Workshop
    seconds: float = 5.0

    def run(self, seed: int, compared: bool) -> Outcome:
        """Change both projects, kill the refresh of one, refresh it again, and look for what was lost."""
        draws = random.Random(seed)
        change = draw_change(draws, sorted(self.disturbed.project.datasets["alpha"].categories))
        for workshop in (self.disturbed, self.control):
            change(workshop)
        killed = _kill_a_refresh(self.disturbed.home, draws, self.seconds, real=seed % REAL_EVERY == 0)
        faults = [*killed.faults, *self._after(compared)]
        said = f"({change.__name__.replace('_', ' ')}, {killed.came}) {'; '.join(faults)}" if faults else None
        return Outcome(killed.what, killed.came, seed, said)

    def _after(self, compared: bool) -> Iterator[str]:
        started = time.monotonic()
        again = uad("refresh", "--home", self.disturbed.home)
        self.seconds = max(3.0, (self.seconds + time.monotonic() - started) / 2)
        if again.exit_code != 0:
            yield f"the next refresh ends with {again.exit_code}: {again.stderr[-500:]} {again.exception!r}"
            return
        yield from losses(self.disturbed.home)
        if compared:
            assert uad("refresh", "--home", self.control.home).exit_code == 0
            if figures(self.disturbed.home) != figures(self.control.home):
                yield "the metrics differ from those of a project that nobody disturbed"


@dataclass(frozen=True)
class _Kill:
    """What was killed, when that was, and what is wrong right after."""

    what: str
    came: str
    faults: tuple[str, ...]


def _kill_a_refresh(home: Path, draws: random.Random, seconds: float, *, real: bool) -> _Kill:
    workers = draws.choice(["1", "2"])
    # drawn before anything is waited for: a seed repeats it on any machine
    victim = draws.choice(["the whole group", "the parent", "a worker"])
    arguments = ["refresh", "--home", str(home), "--workers", workers]
    process = _start_command(arguments) if real else _start_forked(arguments)
    try:
        moment = _await_moment(process, home, draws, seconds * (1.5 if real else 1.0))
        children = process.children(recursive=True) if process.is_running() else []
        if victim == "a worker" and not (running := _workers(children)):
            victim = "the parent"
        if victim == "a worker":
            draws.choice(running).kill()
            process.wait(PATIENCE)
        elif victim == "the parent":
            process.kill()
        else:
            _kill_group(process)
    except psutil.NoSuchProcess:
        return _Kill("nothing", "it had ended before", ())
    _, alive = psutil.wait_procs([process, *children], timeout=PATIENCE)
    left = [f"{orphan} outlives the refresh" for orphan in alive]
    return _Kill(f"{victim} {'of a command' if real else 'forked'}", moment, tuple(left))


def _kill_group(process: psutil.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not yet made a group of its own, or it has ended
        process.kill()


def _start_command(arguments: list[str]) -> psutil.Process:
    command = [sys.executable, "-m", "uad_orchestrator.cli", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return psutil.Popen(command, env=clean_environment(), start_new_session=True, **quiet)


def _start_forked(arguments: list[str]) -> psutil.Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=run_command, args=(arguments,))
    process.start()
    return psutil.Process(process.pid)


def run_command(arguments: list[str]) -> None:
    """The ``uad`` command in this process, as leader of a group of its own, with nothing said."""
    from uad_orchestrator.cli import app

    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    app(arguments)


def _await_moment(process: psutil.Process, home: Path, draws: random.Random, seconds: float) -> str:
    """Wait for the moment to kill at: any one, or one while the first, second, ... artifact is written."""
    if draws.random() < 0.5:
        time.sleep(draws.uniform(0, seconds))
        return "at some moment"
    drafts, skipped = home / ".uad/scratch", draws.randrange(6)
    seen: set[str] = set()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if new := {draft.name for draft in drafts.glob("*")} - seen:
            seen |= new
            deadline = time.monotonic() + seconds
        if len(seen) > skipped:
            time.sleep(draws.choice([0, 0, draws.uniform(0, 0.05)]))
            return "while an artifact was written"
        time.sleep(0.001)
    if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        return "when no further artifact was written"
    raise psutil.NoSuchProcess(process.pid)


def _workers(children: list[psutil.Process]) -> list[psutil.Process]:
    """Those among them that run cells."""
    return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


def draw_change(draws: random.Random, categories: Sequence[str]) -> Callable[[Workshop], None]:
    """What somebody does to the project before the refresh."""
    number, category = draws.randrange(1000, 9999), draws.choice(categories)

    def image_added(workshop: Workshop) -> None:
        write_image(_folder(workshop, category) / f"train/good/{number}.png", normal_image(number))

    def image_removed(workshop: Workshop) -> None:
        there = sorted((_folder(workshop, category) / "train/good").glob("*.png"))
        if len(there) > 4:
            there[number % len(there)].unlink()

    def test_image_changed(workshop: Workshop) -> None:
        image, mask = defective_image(number)
        write_image(_folder(workshop, category) / "test/scratch/000.png", image)
        write_image(_folder(workshop, category) / "ground_truth/scratch/000_mask.png", mask)

    def preset_edited(workshop: Workshop) -> None:
        gamma = 1 + number % 5 / 10
        workshop.edit(lambda values: values["presets"]["bright"][0]["illumination"].update(gamma=gamma))

    def setting_edited(workshop: Workshop) -> None:
        sigma = number % 3 + 1.0
        workshop.edit(lambda values: values["detectors"]["patchcore"].update(maps={"gaussian_sigma": sigma}))

    return draws.choice([image_added, image_removed, test_image_changed, preset_edited, setting_edited])


def _folder(workshop: Workshop, category: str) -> Path:
    return workshop.home / "data/alpha" / category
