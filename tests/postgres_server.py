"""A PostgreSQL server of our own for tests: of the package pgserver, or else the system's.

Not pgserver's own way to start one: as root that makes a user, and opens the folders above it for everybody.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.end_to_end.ui_process import free_port
from uad_orchestrator.orchestration.services.child_processes import stopped_with_parent

USER, PASSWORD = "uad", "p@ss/word"  # pragma: allowlist secret
STARTED_WITHIN = 30.0
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextmanager
def postgres_url() -> Iterator[str]:
    """SQLAlchemy's URL of an empty database, in a server that lives as long as the context.

    Skips the test where there is no server to start, or no driver.
    """
    for package in ("dagster_postgres", "psycopg2"):
        pytest.importorskip(package)
    with tempfile.TemporaryDirectory(prefix="uad-postgres-") as folder, _server(Path(folder)) as port:
        yield f"postgresql+psycopg2://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"


def empty_database(url: str) -> str:
    """The URL of a new database in the server of that one."""
    return _new_database(url, "template1")


def copied_database(url: str) -> str:
    """The URL of a copy of a database to which nobody is connected now."""
    return _new_database(url, url.rpartition("/")[2])


def _new_database(url: str, template: str) -> str:
    server, name = url.rpartition("/")[0], f"test_{uuid4().hex[:12]}"
    with connection(f"{server}/postgres") as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{server}/{name}"


@contextmanager
def connection(url: str) -> Iterator[Any]:
    """A cursor whose statements count at once."""
    import psycopg2

    connected = psycopg2.connect(url.replace("+psycopg2", ""), connect_timeout=5)
    connected.autocommit = True
    try:
        yield connected.cursor()
    finally:
        connected.close()


@contextmanager
def _server(folder: Path) -> Iterator[int]:
    """A server with its data in a folder; its port."""
    user = _hand_over(folder)
    programs, data, secret, log = _programs(folder, user), folder / "data", folder / "secret", folder / "log"
    secret.write_text(PASSWORD)
    account = ["-U", USER, "-A", "scram-sha-256", "--pwfile", secret]
    made = [programs / "initdb", "-D", data, *account, "-E", "UTF8", "--no-locale", "-N"]
    subprocess.run(made, check=True, user=user, stdout=subprocess.DEVNULL)
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        **UNSAFE_BUT_FAST,
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    with log.open("wb") as said:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, *options],
            user=user,
            stdout=said,
            stderr=said,
            preexec_fn=stopped_with_parent(),  # noqa: PLW1509 - one call that takes no lock
        )
    try:
        _wait_for_answer(port, server, log)
        yield port
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        server.wait(timeout=STARTED_WITHIN)


def _hand_over(folder: Path) -> str | None:
    """The user that runs the server: it refuses to be root, and the folder has to be its own."""
    if os.geteuid() != 0:
        return None
    shutil.chown(folder, "nobody")
    return "nobody"


def _programs(folder: Path, user: str | None) -> Path:
    """Where ``initdb`` and ``postgres`` are; another user gets a copy, pgserver's may lie where only root can go."""
    packaged = find_spec("pgserver")
    if packaged and packaged.origin:
        package = Path(packaged.origin).parent
        if user:
            for part in ("pgserver/pginstall", "pgserver.libs"):  # the programs, and what they are linked to
                shutil.copytree(package.parent / part, folder / part)
            package = folder / "pgserver"
        return package / "pginstall" / "bin"
    found = shutil.which("pg_ctl")
    links = [Path(found).resolve()] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not links:
        pytest.skip("no PostgreSQL: pip install pgserver, or the system's postgresql (initdb, postgres)")
    return links[-1].parent


def _wait_for_answer(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg2

    deadline = time.monotonic() + STARTED_WITHIN
    while True:
        try:
            with connection(f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"):
                return
        except psycopg2.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
