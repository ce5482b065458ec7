"""A real Ray node whose raylet has no ``dagster`` on its PATH: the check says so, and a run lost to it is failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus
from dagster._core.launcher import LaunchRunContext

from tests.end_to_end.ui_process import free_port
from tests.orchestration.dagster_instance.launchers.ray_instance import begin, launched_run
from tests.orchestration.services.project_check.test_ray import write_settings
from uad_orchestrator import __version__
from uad_orchestrator.orchestration.dagster_instance.launchers.lost_runs import fail_lost_runs
from uad_orchestrator.orchestration.dagster_instance.launchers.ray_nodes import ask_nodes, ray_launcher
from uad_orchestrator.orchestration.services.project_check.ray import node_problems, ray_problems

pytestmark = pytest.mark.cluster

PROGRAMS = Path(sys.executable).parent
BARE = "/usr/bin:/bin"
SECONDS = 180.0
"""For which a busy machine may take to start a node, or a job on it."""


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of the jobs' server of a node with one core, without our environment."""
    folder, port, jobs = tempfile.mkdtemp(prefix="ray-"), free_port(), free_port()
    words = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={jobs}"]
    words += [
        "--num-cpus=1",
        "--dashboard-agent-listen-port=0",
        "--disable-usage-stats",
        f"--temp-dir={folder}",
    ]
    words += ["--object-store-memory=80000000", "--include-log-monitor=false"]
    names = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DAGSTER_", "UAD_"))
    }
    patient = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "180", "RAY_agent_register_timeout_ms": "180000"}
    node = subprocess.Popen(
        [PROGRAMS / "ray", "start", *words],
        env=names | patient | {"PATH": BARE, "RAY_enable_worker_prestart": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{jobs}"
    try:
        wait(lambda: urllib.request.urlopen(f"{address}/api/jobs/", timeout=5).close() is None)
        yield address
    finally:
        for process in [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def wait(came) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + SECONDS
    while True:
        with suppress(OSError):
            if came():
                return
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_check_says_what_a_node_lacks(head: str, tmp_path: Path) -> None:
    launcher = ray_launcher(write_settings(tmp_path / "any", head))
    wait(lambda: ask_nodes(launcher, SECONDS))  # a head that has just started lists no node
    (problem,) = ray_problems(write_settings(tmp_path / "bare", head), seconds=SECONDS)
    assert problem.where.startswith("ray node ") and problem.severity == "warning"
    assert f"`dagster`: not on the PATH, {BARE}." in problem.problem
    mended = write_settings(tmp_path / "mended", head, f"['PATH={PROGRAMS}:{BARE}', PYTHONPATH]")
    (answer,) = ask_nodes(ray_launcher(mended), SECONDS)
    assert (answer.versions, answer.faults) == ({"dagster": __version__, "python": __version__}, {})
    assert list(node_problems([answer], __version__)) == []


def test_a_run_that_never_began_is_failed_with_the_reason(head: str, tmp_path: Path) -> None:
    @dg.job
    def nothing() -> None: ...

    with dg.DagsterInstance.from_config(str(write_settings(tmp_path / "home", head))) as instance:
        run = launched_run(instance, nothing)
        begin(instance, run, "PIPELINE_STARTING")
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
        failed: dict[str, str] = {}
        wait(lambda: failed.update(fail_lost_runs(instance).failed) or failed)
        assert set(failed) == {run.run_id}
        assert "`dagster` is not on the PATH" in failed[run.run_id]
        assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE
