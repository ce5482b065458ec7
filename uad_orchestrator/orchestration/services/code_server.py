"""The code server of ``uad ui``: it loads the definitions, once for web server and daemon.

Where their workspace names the module instead, each of the two starts a code server of its own, and the daemon a new
one every minute.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import yaml

import uad_orchestrator
from uad_orchestrator.orchestration.services.child_processes import start_module, stop
from uad_orchestrator.project import Project
from uad_orchestrator.storage.atomic import write_text

LOOK_SECONDS = 5.0
"""From look to look whether the definitions are still there."""


class CodeServer:
    """A running ``dagster code-server``: a child of its own has the definitions, "Reload definitions" makes a new one.

    Attributes:
        process: what web server and daemon talk to.
        socket: where it listens.
    """

    def __init__(self, project: Project, socket: Path, environment: Mapping[str, str]) -> None:
        """Start it.

        Args:
            socket: in a folder that nobody else may enter: who talks to a code server can start runs.
            environment: of the process.
        """
        self._project, self.socket, self._environment = project, socket, environment
        self.process = self._start()
        self._seen: set[psutil.Process] = set()
        self._next_look = 0.0

    @property
    def answers(self) -> bool:
        """Whether it listens: it does as soon as the child is there, or could not be started."""
        return self.socket.exists()

    def mend(self) -> None:
        """Start it anew where its child has died, of too little memory, say: it would not until the next reload."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        children = _living_children(self.process)
        if self._seen and not children:
            stop([self.process])
            self.process = self._start()
        self._seen = children

    def _start(self) -> subprocess.Popen[bytes]:
        name = self._project.dagster.location_name
        arguments = [
            *("code-server", "start", "--socket", str(self.socket), "--log-level", "warning"),
            *("--module-name", "uad_orchestrator.definitions", "--location-name", name),
            # Put first on the search path, where without it the folder would stand that the server was started in.
            *("--working-directory", str(Path(uad_orchestrator.__file__).parents[1])),
            "--use-python-environment-entry-point",  # runs start by this Python's path
            "--inject-env-vars-from-instance",  # as in a code server that the daemon starts
        ]
        return start_module("dagster", arguments, self._environment, self._project.home)


def write_workspace(project: Project, socket: Path) -> Path:
    """The workspace file of the code server that listens there, beside its socket.

    Web server and daemon read it again and again: another ``uad ui`` of the project has its own.
    """
    place = {"socket": str(socket), "location_name": project.dagster.location_name}
    path = socket.with_name("workspace.yaml")
    write_text(path, yaml.safe_dump({"load_from": [{"grpc_server": place}]}))
    return path


def _living_children(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    try:
        children = psutil.Process(process.pid).children()
        return {child for child in children if child.status() != psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:  # it ended while we looked
        return set()
