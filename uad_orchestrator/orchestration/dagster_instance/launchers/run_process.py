"""The process of a run that a cluster works at: ``python -m <this module> api execute_run ...``.

It does what ``python -m dagster`` does, with less ado before the run and after it: while Dagster is loaded Python would
look for garbage a hundred times, and in the end take apart all objects one by one. That is an eighth of the processor
seconds of a run of three small cells.

Not public API of Dagster here: its command, and by what an origin says how a run starts.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from uad_orchestrator.garbage import look_less_often

if TYPE_CHECKING:
    from dagster import DagsterRun

DAGSTER = ["-m", "dagster"]
FILES = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
HERE = "uad_orchestrator.orchestration.dagster_instance.launchers.run_process"


def started_here(run: DagsterRun) -> DagsterRun:
    """The run, to be started by this module where it would be by ``python -m dagster``.

    The bare word ``dagster`` stays: a container's image may have nothing but that on its path.
    """
    origin = run.job_code_origin
    command = list(origin.repository_origin.entry_point or ()) if origin else []
    if origin is None or command[1:] != DAGSTER:
        return run
    repository = origin.repository_origin._replace(entry_point=[command[0], "-m", HERE])
    return run._replace(job_code_origin=origin._replace(repository_origin=repository))


def main() -> None:
    """Run Dagster's command and end the process as soon as all has been written that should be."""
    look_less_often()
    status: list[int] = []
    # What is registered first is called last: threads have ended by then.
    atexit.register(lambda: _end(status[0]) if status else None)

    from dagster._cli import main as dagster

    try:
        dagster()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            status.append(end.code or 0)
        raise


def _end(status: int) -> None:
    _write_what_waits()
    os._exit(status)


def _write_what_waits() -> None:
    """Write what still waits in files that code left open, as Python would when it takes them apart."""
    gc.unfreeze()  # else what is kept is not among all objects
    files = [found for found in gc.get_objects() if issubclass(type(found), FILES)]
    for file in [
        *(file for file in files if isinstance(file, io.TextIOBase)),
        *files,
    ]:  # a text's bytes come after it
        with suppress(
            OSError, ValueError
        ):  # closed, for reading only, or on a full disk: Python says no word, either
            file.flush()


if __name__ == "__main__":
    main()
