"""``uad ui`` has one code server for web server and daemon, which follows the project and survives a death."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.ui_process import Server, clean_environment, free_port, running_ui, wait_for
from tests.orchestration.workshop import Workshop

pytestmark = pytest.mark.end_to_end

PATIENCE = 120.0
"""Seconds; a busy machine needs them, an idle one a tenth."""

_LOCATIONS = """{workspaceOrError {... on Workspace {locationEntries {locationOrLoadError {
    ... on RepositoryLocation {repositories {pipelines {name}}}}}}}}"""


def test_one_code_server_is_loaded_anew_on_demand_and_after_its_death(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    with running_ui(workshop.home) as server:
        wait_for(lambda: "cell" in jobs(server), PATIENCE, "the definitions are there")
        (first,) = code_servers()

        workshop.edit(lambda values: values.update(runtime={"run_per": "embedder"}))
        assert "cells" not in jobs(server)
        server.ask("mutation {reloadWorkspace {__typename}}")
        wait_for(lambda: "cells" in jobs(server), PATIENCE, "the definitions were loaded anew")
        wait_for(lambda: len(code_servers()) == 1, PATIENCE, "the one before has ended")
        (second,) = code_servers()
        assert second != first

        second.kill()
        wait_for(lambda: set(code_servers()) - {second}, PATIENCE, "there is another code server")
        wait_for(lambda: "cells" in jobs(server), PATIENCE, "the definitions are there again")
    assert not code_servers()


def test_another_uad_ui_of_the_project_leaves_the_first_its_definitions(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    with running_ui(workshop.home) as first:
        with running_ui(workshop.home) as second:
            wait_for(lambda: "cell" in jobs(second), PATIENCE, "the second has the definitions, too")
        first.ask("mutation {reloadWorkspace {__typename}}")  # it reads its workspace again
        wait_for(lambda: "cell" in jobs(first), PATIENCE, "it has its own")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not told that its parent ended")
def test_nothing_is_left_of_one_that_a_script_started_and_that_was_killed(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path / "home", {"alpha": ["disc"]})
    command = (
        f'"{sys.executable}" -m uad_orchestrator.cli ui --home "{workshop.home}" --port {free_port()} & wait'
    )
    with (
        tempfile.TemporaryDirectory() as short,  # the socket's folder stays behind a process that is killed
        subprocess.Popen(
            ["sh", "-c", command], env=clean_environment(TMPDIR=short), start_new_session=True
        ) as shell,
    ):
        wait_for(
            lambda: len(below(shell.pid)) >= 5, PATIENCE, "uad ui, web server, daemon and code server are up"
        )
        started = below(shell.pid)
        started[0].kill()
        wait_for(lambda: not any(map(psutil.Process.is_running, started)), PATIENCE, "all of them end")


def below(pid: int) -> list[psutil.Process]:
    """All that a process started, what it started itself first."""
    return psutil.Process(pid).children(recursive=True)


def jobs(server: Server) -> set[str]:
    """The names of the jobs that the web server knows."""
    entries = server.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
    repositories = [
        r for entry in entries for r in (entry["locationOrLoadError"] or {}).get("repositories", [])
    ]
    return {job["name"] for repository in repositories for job in repository["pipelines"]}


def code_servers() -> list[psutil.Process]:
    """The processes of ours that have definitions."""
    below = psutil.Process().children(recursive=True)
    return [
        one for one in below if one.status() != psutil.STATUS_ZOMBIE and {"api", "grpc"} <= set(words(one))
    ]


def words(process: psutil.Process) -> list[str]:
    """A process's command, of one that ended meanwhile none."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
