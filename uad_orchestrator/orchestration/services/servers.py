"""Dagster's web server, daemon and code server as child processes, on localhost, for one project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from uad_orchestrator.orchestration.dagster_instance.backfills import DAEMON_MODULE
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance, prepare_dagster_home
from uad_orchestrator.orchestration.services.child_processes import start_module, stop
from uad_orchestrator.orchestration.services.code_server import CodeServer, write_workspace
from uad_orchestrator.project import Project
from uad_orchestrator.project.load import HOME_VARIABLE

LOOK_SECONDS = 0.2
SHORT_PATH = 80
"""Bytes of a path of a folder up to which a socket in a folder of ours fits below it: its own path may have 107."""


def serve_ui(project: Project, port: int, host: str = "127.0.0.1") -> int:
    """Run the three processes until one of them ends, Ctrl-C or SIGTERM; returns the exit status."""
    with open_instance(project):
        pass  # they find the databases made; they would make them at the same time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # else all would outlive us
    environment = server_environment(project)
    with tempfile.TemporaryDirectory(prefix="uad-ui-", dir=_place_for_sockets()) as folder:
        code = CodeServer(project, Path(folder) / "code", environment)
        others: dict[str, subprocess.Popen[bytes]] = {}
        try:
            while (status := _status({"code server": code.process, **others})) is None:
                # not before: a daemon that finds no code server looks again after a minute
                if code.answers and not others:
                    others = _start_others(project, code, environment, port, host)
                code.mend()
                time.sleep(LOOK_SECONDS)
            return status
        finally:
            stop([*others.values(), code.process])


def _start_others(
    project: Project, code: CodeServer, environment: Mapping[str, str], port: int, host: str
) -> dict[str, subprocess.Popen[bytes]]:
    workspace = str(write_workspace(project, code.socket))
    commands = (
        ("web server", "dagster_webserver", ["-h", host, "-p", str(port), "-w", workspace]),
        ("daemon", DAEMON_MODULE, ["run", "-w", workspace]),
    )
    return {
        name: start_module(module, arguments, environment, project.home)
        for name, module, arguments in commands
    }


def _status(processes: Mapping[str, subprocess.Popen[bytes]]) -> int | None:
    """The exit status of one that has ended, which is said."""
    for name, process in processes.items():
        status = process.poll()
        if status is not None:
            print(f"uad ui: Dagster's {name} has ended with exit status {status}", file=sys.stderr)
            return status
    return None


def _place_for_sockets() -> str | None:
    """A folder whose path is short enough for a socket's, which a project's need not be; None: the usual one."""
    here, usual = Path("/tmp"), os.fsencode(tempfile.gettempdir())
    return str(here) if len(usual) > SHORT_PATH and here.is_dir() else None


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
