"""A ``uad ui`` that is killed takes along what it started; what lies in a project's folder is never imported by it.

What a killed refresh leaves: ``tests/faults``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.ui_process import clean_environment, free_port, running_server, wait_for
from tests.orchestration.workshop import Workshop

pytestmark = pytest.mark.end_to_end
REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
UAD = [sys.executable, "-m", "uad_orchestrator.cli"]


@pytest.mark.skipif(sys.platform != "linux", reason="by a signal that Linux sends")
def test_web_server_and_daemon_end_with_a_killed_uad_ui(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    for module in ("yaml", "cv2", "numpy", "grpc", "dagster_graphql"):
        marker = f"open({str(tmp_path / 'imported')!r}, 'a').write({module!r})"
        (workshop.home / f"{module}.py").write_text(f"{marker}\nraise ImportError({module!r})\n")
    port = free_port()
    command = [*UAD, "ui", "--home", str(workshop.home), "--port", str(port)]
    with running_server(command, port, tmp_path / "ui.log", clean_environment(), tmp_path) as server:
        found = wait_for(
            lambda: server.ask(REPOSITORIES)["repositoriesOrError"]["nodes"], 120, "it is loaded"
        )
        assert len(found) == 1 and not (tmp_path / "imported").exists()
        (ui,) = (
            process
            for process in psutil.Process().children(recursive=True)
            if "ui" in process.cmdline() and str(port) in process.cmdline()
        )
        children = ui.children(recursive=True)
        assert len(children) >= 2
        ui.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive, [process.cmdline() for process in alive]
