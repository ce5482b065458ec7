"""``--inputs N``: N damaged files of every kind. Right, or said in words; never a crash, a hang, code or memory.

They are tried in a process of their own, with limits on time and memory; one that dies is a fault, and another goes on.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from tests.faults.damaged_files import Files, try_bundle, try_image, try_weights
from tests.faults.damaged_projects import try_project
from tests.faults.damaged_state import Grid, try_state
from tests.faults.outcomes import Outcome, Tally

MOST_SECONDS = 180.0
"""Of one try, on a busy machine; a refresh is among them."""

MOST_BYTES = 4 * 2**30
"""Of address space beyond what a process has with its imports done."""

MOST_RESIDENT = 2**29
"""By which the most memory ever in use may grow in a single try."""

SHARES = {"image": 50, "project": 25, "weights": 8, "bundle": 9, "state": 8}


class Inputs:
    """Tries seeds, one by one.

    Args:
        folder: empty; sound and damaged files lie below it.
        kinds: of inputs; a seed draws among them.
    """

    def __init__(self, folder: Path, kinds: tuple[str, ...] = tuple(SHARES)) -> None:
        self.kinds = kinds
        self.files, self.grid = Files(folder), Grid(folder)
        self.tries: dict[str, Callable[[random.Random, int], Outcome]] = {
            "image": lambda draws, seed: try_image(self.files, draws, seed),
            "project": lambda draws, seed: try_project(self.files, draws, seed),
            "weights": lambda draws, seed: try_weights(self.files, draws, seed),
            "bundle": lambda draws, seed: try_bundle(self.files, draws, seed),
            "state": lambda draws, seed: try_state(self.grid, self.files, draws, seed),
        }

    def prepare(self) -> None:
        """Make what the tries begin with, so that the memory of it, and of torch, is not counted as theirs."""
        assert self.files.images and self.files.weights and self.files.score

    def try_one(self, seed: int) -> Outcome:
        """Draw an input from a seed, damage it, and use it."""
        draws = random.Random(seed)
        (kind,) = draws.choices(self.kinds, [SHARES[kind] for kind in self.kinds])
        before = _most_resident()
        try:
            outcome = self.tries[kind](draws, seed)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
            outcome = Outcome(kind, "a crash", seed, fault)
        if self.files.canary.exists():
            self.files.canary.unlink()
            return Outcome(outcome.what, "code was executed", seed, "code of the file was executed")
        if (grown := _most_resident() - before) > MOST_RESIDENT:
            return Outcome(outcome.what, "memory", seed, f"{grown / 2**20:.0f} MiB of memory")
        return outcome


def try_inputs(count: int, seed: int, folder: Path) -> Tally:
    """Try ``count`` inputs.

    Args:
        count: of inputs.
        seed: of the first; each has the next one.
        folder: empty.
    """
    tally = Tally("inputs")
    box = _Box(folder)
    for number in range(seed, seed + count):
        tally.add(box.try_one(number))
    box.close()
    return tally


class _Box:
    """A process in which inputs are tried; another one when it dies or is late."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.started += 1
        folder = self.folder / f"inputs {self.started}"
        self.process = context.Process(target=serve, args=(theirs, folder), daemon=True)
        self.process.start()
        theirs.close()

    def try_one(self, seed: int) -> Outcome:
        try:
            self.connection.send(seed)
            if self.connection.poll(MOST_SECONDS):
                return self.connection.recv()
            fault = f"no end within {MOST_SECONDS:g} s"
        except (EOFError, OSError):  # closed, or reset where it died before it read
            self.process.join()
            fault = f"the process died (exit status {self.process.exitcode})"
        self.close()
        self._start()
        return Outcome("any", "a hang or a death", seed, fault)

    def close(self) -> None:
        self.process.kill()
        self.connection.close()


def serve(connection: Connection, folder: Path) -> None:
    """The life of the process: take a seed, try it, answer."""
    folder.mkdir()
    inputs = Inputs(folder)
    inputs.prepare()
    limit = psutil.Process().memory_info().vms + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        connection.send(inputs.try_one(connection.recv()))


def _most_resident() -> int:
    """Bytes that this process ever had in memory at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
