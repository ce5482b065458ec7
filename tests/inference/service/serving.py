"""A real ``uad serve`` process, and raw connections to it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.ui_process import free_port, wait_for


@dataclass
class Serving:
    """The process, its port, and the file its standard error goes to."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 30, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A connection on which ``sent`` was sent."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        made.sendall(sent)
        return made


@contextmanager
def serving(bundle: Path, log: Path, *options: str) -> Iterator[Serving]:
    """``uad serve``, listening."""
    port = free_port()
    line = [sys.executable, "-m", "uad_orchestrator.cli", "serve", "--bundle", str(bundle)]
    with log.open("wb") as file:
        process = subprocess.Popen([*line, "--port", str(port), *options], stderr=file)
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None, 120, "the server listens")
        assert process.poll() is None, log.read_text()
        yield Serving(process, port, log)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
