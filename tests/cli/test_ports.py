"""A port that is taken is an error before anything is started or loaded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_the_ui_starts_no_daemon(tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Workshop.build(tmp_path, {"alpha": ["disc"]}).home
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a process was started"))
    said = uad("ui", "--home", home, "--port", str(taken))
    assert said.exit_code == 1
    assert f"127.0.0.1:{taken} cannot be listened on" in said.stderr and "--port" in said.stderr


def test_the_service_loads_no_bundle(
    bundle_folder: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "uad_orchestrator.inference.bundle_files.load_bundle", lambda *_, **__: pytest.fail("it was loaded")
    )
    said = uad("serve", "--bundle", bundle_folder, "--port", str(taken))
    assert said.exit_code == 1 and "cannot be listened on" in said.stderr
