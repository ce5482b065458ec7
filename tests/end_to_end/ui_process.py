"""``uad ui`` as a user has it: the real web server and daemon of one project, and questions to them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

START_SECONDS = 180.0
STOP_SECONDS = 60.0


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what a user may have set for other projects; one thread per library."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "UAD_HOME")}
    return kept | {"OMP_NUM_THREADS": "1", "DAGSTER_DISABLE_TELEMETRY": "1"} | more


def wait_for(question: Callable[[], Found], seconds: float, what: str, every: float = 0.2) -> Found:
    """The first answer that is not empty, asked for ``every`` so many seconds; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@dataclass(frozen=True)
class Server:
    """A web server under test, and the log of all that was started with it."""

    url: str
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error}: {error.read().decode(errors='replace')[-2000:]}") from error
        assert "errors" not in found, found["errors"]
        return found["data"]

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@contextmanager
def running_server(
    command: Sequence[str], port: int, log: Path, environment: dict[str, str], cwd: Path
) -> Iterator[Server]:
    """Start a command that serves Dagster's UI on ``port``; stop it, as Ctrl-C does, and all it started."""
    server = Server(f"http://127.0.0.1:{port}", log)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=cwd, start_new_session=True
        )
        try:
            wait_for(
                lambda: server.answers() or process.poll() is not None,
                START_SECONDS,
                "the web server answers",
            )
            assert process.poll() is None, log.read_text()
            yield server
        finally:
            stop(process)


@contextmanager
def running_ui(home: Path) -> Iterator[Server]:
    """``uad ui`` of the project in ``home``, on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "uad_orchestrator.cli", "ui", "--home", str(home), "--port", str(port)]
    with running_server(command, port, home / "ui.log", clean_environment(), home) as server:
        yield server


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C to the whole group; nothing of it may be left."""
    group = process.pid  # start_new_session made it the leader
    if process.poll() is None:
        os.killpg(group, signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
        wait_for(lambda: not _alive(group), STOP_SECONDS, "all processes of the server end")
    finally:
        if _alive(group):
            os.killpg(group, signal.SIGKILL)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
