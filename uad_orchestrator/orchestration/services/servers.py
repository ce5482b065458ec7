"""Dagster's web server and daemon as two child processes, on localhost, for one project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

import uad_orchestrator
from uad_orchestrator.orchestration.dagster_instance.backfills import DAEMON_MODULE
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance, prepare_dagster_home
from uad_orchestrator.project import Project
from uad_orchestrator.project.load import HOME_VARIABLE
from uad_orchestrator.storage.atomic import write_text

GRACE_SECONDS = 20.0


def serve_ui(project: Project, port: int, host: str = "127.0.0.1") -> int:
    """Run web server and daemon until one of them ends, Ctrl-C or SIGTERM; returns the exit status."""
    with open_instance(project):
        pass  # both processes find the databases made; they would make them at the same time
    workspace = write_workspace(project)
    environment = server_environment(project)
    commands = (
        ("dagster-webserver", "dagster_webserver", ["-h", host, "-p", str(port), "-w", str(workspace)]),
        ("dagster-daemon", DAEMON_MODULE, ["run", "-w", str(workspace)]),
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            cwd=project.home,
            preexec_fn=stopped_with_parent(),  # noqa: PLW1509 - one call that takes no lock
        )
        for _, module, arguments in commands
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # else both would outlive us
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.2)
        return next(process.returncode for process in processes if process.poll() is not None)
    finally:
        stop(processes)


def stopped_with_parent() -> Callable[[], None] | None:
    """What a child does before it starts, so that it is told to stop when this process is killed; Linux only.

    Its own children, code servers and runs, are ended by it, or miss its heartbeat.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, set_parent_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_parent_death_signal, int(signal.SIGINT))


def write_workspace(project: Project) -> Path:
    """The workspace file of the project's code location, below its own local folder."""
    place = {
        "module_name": "uad_orchestrator.definitions",
        "location_name": project.dagster.location_name,
        # Put first on the search path, where without it the folder would stand that the server was started in.
        "working_directory": str(Path(uad_orchestrator.__file__).parents[1]),
        "executable_path": sys.executable,
    }
    path = Path(project.storage.local) / "dagster" / "workspace.yaml"
    write_text(path, yaml.safe_dump({"load_from": [{"python_module": place}]}))
    return path


def server_environment(project: Project) -> Mapping[str, str]:
    """The environment with both variables set to this project.

    A module is never imported from the folder that a process starts in: a ``yaml.py`` among the images would be run.
    """
    return os.environ | {
        "PYTHONSAFEPATH": "1",
        "DAGSTER_HOME": str(prepare_dagster_home(project)),
        HOME_VARIABLE: str(project.home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the processes: politely, then for good."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
