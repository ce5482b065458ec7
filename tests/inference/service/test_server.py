"""A real server, and clients that stall, go away, or ask for what is not theirs."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from tests.end_to_end.ui_process import wait_for
from tests.inference.service.serving import Serving, serving
from tests.orchestration.workshop import normal_image

pytestmark = pytest.mark.end_to_end

MIB = 2**20
HEADER_SECONDS, BODY_SECONDS, DRAIN_SECONDS = 1.0, 2.0, 6  # the last: on a busy machine a part takes seconds
TIMES = [
    *("--header-seconds", str(HEADER_SECONDS), "--body-seconds", str(BODY_SECONDS)),
    *("--drain-seconds", str(DRAIN_SECONDS), "--max-held-mebibytes", "64"),
]
SLACK = 20.0
"""Seconds that a busy machine may take on top of a limit."""

TOKEN = "a-token-of-some-length"


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


GOOD = png(normal_image(900))


def header(length: int) -> bytes:
    return f"POST /infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def rest(connection: socket.socket) -> bytes:
    """All that still comes on a connection, up to its end."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.fixture(scope="module")
def server(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(bundle_folder, tmp_path_factory.mktemp("serve") / "log", *TIMES) as started:
        yield started


def test_silent_connections_hold_nothing_and_are_closed(server: Serving) -> None:
    started = time.monotonic()
    silent = [server.connect(sent) for sent in [b"", b"GET /heal", header(9)[:30]] for _ in range(50)]
    assert server.ask("POST", "/infer", GOOD)[0] == 200
    assert [rest(connection) for connection in silent] == [b""] * len(silent)
    assert time.monotonic() - started < HEADER_SECONDS + SLACK


def test_a_header_a_byte_at_a_time_has_no_longer(server: Serving) -> None:
    slow, started = server.connect(b"GET /health HTTP/1.1\r\nX: "), time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - started < HEADER_SECONDS + SLACK:
            slow.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - started > HEADER_SECONDS / 2


def test_stalled_bodies_hold_no_slot_and_little_memory(server: Serving) -> None:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    stalled = []
    for _ in range(130):  # more than the requests that may be under way, all without their last byte
        stalled.append(server.connect(header(100) + b"x" * 99))
    assert server.ask("POST", "/infer", GOOD)[0] == 200
    for _ in range(12):  # 12 of 31 MiB: more than are held
        with contextlib.suppress(OSError):  # refused while it was sent
            stalled.append(server.connect(header(31 * MIB) + b"x" * (30 * MIB)))
    assert process.memory_info().rss - before < 64 * MIB * 3
    answers = [rest(connection) for connection in stalled[:130]]
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers), set(answers)
    assert b"the body was not here within 2 s" in answers[0]
    for connection in stalled[130:]:
        rest(connection)
    status, said = server.ask("POST", "/infer", b"x" * (30 * MIB))
    assert (status, b"not an image" in said) == (415, True), "what was held is free again"


def test_a_client_that_does_not_take_its_answer_is_cut_off(server: Serving) -> None:
    big = png(np.zeros((2000, 2000, 3), np.uint8))  # its map is 20 MB, more than sockets hold
    deaf = server.connect(header(len(big)).replace(b"/infer", b"/infer?map=tiff") + big)
    wait_for(lambda: len(deaf.recv(1, socket.MSG_PEEK)) == 1, 60, "the answer comes")
    connections = psutil.Process(server.process.pid).net_connections
    own = deaf.getsockname()[1]
    wait_for(lambda: all(not c.raddr or c.raddr.port != own for c in connections()), 60, "it is cut off")


def test_a_client_that_goes_away_is_no_fault(server: Serving) -> None:
    for sent in (header(100) + b"x" * 50, header(len(GOOD)) + GOOD):
        for _ in range(5):
            server.connect(sent).close()
    wait_for(lambda: b'uad_requests_total{status="499"}' in server.ask("GET", "/metrics")[1], 30, "counted")
    assert b'status="500"' not in server.ask("GET", "/metrics")[1]
    assert server.ask("POST", "/infer", GOOD)[0] == 200
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("shape", [(49_000_000, 1), (1, 49_000_000)])
def test_an_image_like_a_thread_is_refused_by_its_header(server: Serving, shape: tuple[int, int]) -> None:
    process = psutil.Process(server.process.pid)
    before, started = process.memory_info().rss, time.monotonic()
    status, said = server.ask("POST", "/infer", thread_png(*shape))
    assert (status, b"at most 1048576 pixels" in said) == (413, True), said
    assert process.memory_info().rss - before < 32 * MIB
    assert time.monotonic() - started < SLACK


def thread_png(height: int, width: int) -> bytes:
    """A grey PNG whose pixels are all 0."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(height * (width + 1)), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_another_host_name_is_refused(server: Serving) -> None:
    assert server.ask("GET", "/health", Host="evil.example")[0] == 400
    assert server.ask("GET", "/health", Host=f"localhost:{server.port}")[0] == 200


def test_sigterm_drains_and_ends(bundle_folder: Path, tmp_path: Path) -> None:
    with serving(bundle_folder, tmp_path / "log", *TIMES, "--body-seconds", "600") as server:
        nearly = server.connect(header(len(GOOD)) + GOOD[:-1])
        stalled = server.connect(header(100) + b"x")
        idle = server.connect()
        wait_for(lambda: b"under_way 2.0" in server.ask("GET", "/metrics")[1], 30, "both are under way")
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        time.sleep(0.5)
        nearly.sendall(GOOD[-1:])
        assert rest(nearly).startswith(b"HTTP/1.1 200"), "what was under way is answered"
        told = rest(stalled)  # that the service is ending, if there is time for it
        assert told == b"" or told.startswith(b"HTTP/1.1 503"), "what is never complete is cut off"
        assert rest(idle) == b""
        assert server.process.wait(60) == -signal.SIGTERM
        assert DRAIN_SECONDS <= time.monotonic() - started < DRAIN_SECONDS + SLACK
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    line = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    line += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*line, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    return made, key


def test_token_tls_ids_and_json_logs(
    bundle_folder: Path, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    made, key = certificate
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    options = ["--token-file", str(tmp_path / "token"), "--tls-cert", str(made), "--tls-key", str(key)]
    with serving(bundle_folder, tmp_path / "log", *options, "--log-format", "json") as server:
        trusting = ssl.create_default_context(cafile=made)

        def ask(token: str, request_id: str) -> tuple[int, str | None]:
            connection = http.client.HTTPSConnection("localhost", server.port, timeout=30, context=trusting)
            headers = {"Authorization": token, "X-Request-ID": request_id}
            connection.request("POST", "/infer", GOOD, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["X-Request-ID"]

        assert ask(f"Bearer {TOKEN}", "part-7.1") == (200, "part-7.1")
        for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xe9"):
            status, own = ask(wrong, 'not "taken" over')
            assert status == 401 and own and "taken" not in own
        wait_for(lambda: server.log.read_text().count('"path"') == 6, 10, "each request is logged")
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{"]
        told = next(line for line in lines if line["request_id"] == "part-7.1")
        assert (told["method"], told["path"], told["status"], told["client"]) == (
            *("POST", "/infer", 200, "127.0.0.1"),
        )
        assert TOKEN not in server.log.read_text()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--host", "0.0.0.0"], 2, "--token-file, or --insecure"),
        (["--tls-cert", "c.pem"], 2, "--tls-cert and --tls-key belong together"),
        (["--token-file", "short"], 1, "16 printable ASCII characters or more"),
        (["--token-file", "nowhere"], 1, "nowhere"),
        (["--tls-cert", "nowhere", "--tls-key", "short"], 1, "nowhere: no such file"),
        (["--tls-cert", "short", "--tls-key", "short"], 1, "no certificate and unencrypted key"),
    ],
)
def test_what_would_be_open_by_mistake_does_not_start(
    bundle_folder: Path, tmp_path: Path, options: list[str], status: int, said: str
) -> None:
    (tmp_path / "short").write_text("short")
    line = [sys.executable, "-m", "uad_orchestrator.cli", "serve", "--bundle", str(bundle_folder), *options]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (status, True), done.stderr
