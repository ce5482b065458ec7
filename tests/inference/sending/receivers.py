"""A receiver of webhooks, and an MQTT broker where one is installed."""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.end_to_end.ui_process import free_port


@dataclass
class Receiver:
    """What a local HTTP server was sent; it answers with the next of ``answers``, then with 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, object]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    found.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.open.wait(30)
            status = found.answers.pop(0) if found.answers else 200
            found.bodies.append(json.loads(body))
            found.headers.append(dict(self.headers))
            found.paths.append(self.path)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook?key=s3cret"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.open.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Broker:
    """A mosquitto that can be stopped and started again; it wants user ``line`` with password ``right one``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self, tls: bool = False) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nuser {getpass.getuser()}\nallow_anonymous false\n"
            f"password_file {self.folder / 'users'}\n"
            + (f"certfile {self.certificate}\nkeyfile {self.folder / 'key.pem'}\n" if tls else "")
        )
        users = self.folder / "users"
        program = ["mosquitto_passwd", "-b", "-c", str(users), "line", "right one"]
        subprocess.run(program, check=True, capture_output=True)
        self.process = subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL)

    @cached_property
    def certificate(self) -> Path:
        """For 127.0.0.1, made here."""
        made = self.folder / "cert.pem"
        line = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        line += ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        files = ["-keyout", str(self.folder / "key.pem"), "-out", str(made)]
        subprocess.run([*line, *files], check=True, capture_output=True)
        return made

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Not started yet."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto, an MQTT broker, is not installed")
    found = Broker(tmp_path, free_port())
    yield found
    found.stop()
