"""Ray nodes on this machine: each with a home, an environment and processes of its own, as a machine has them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.documentation.code_blocks import ROOT
from tests.end_to_end.ui_process import clean_environment, free_port, wait_for

START_SECONDS = 240.0
END_SECONDS = 30.0
OBJECT_STORE_BYTES = 80_000_000
"""Near Ray's least; our jobs keep nothing there."""

PATIENT = {
    "RAY_agent_register_timeout_ms": "240000",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "240",
    "RAY_ADDRESS": "",
}
"""A busy machine starts a node more slowly than Ray waits by default; a cluster that runs here is not ours."""

LEAN = {
    "RAY_enable_worker_prestart": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What no test needs costs seconds of a core at each node."""


@dataclass
class RayNode:
    """A running node.

    Attributes:
        home: its UAD_HOME.
        process: ``ray start --block``; all others of the node are below it.
        log: what it said.
    """

    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """It was not killed, nor has it ended."""
        return self.process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """All that runs on the node, its jobs included."""
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        return []

    def works_at(self, run_id: str) -> bool:
        """Whether a process of a Dagster run is one of the node's."""
        return any(run_id in word for process in self.processes() for word in _command(process))

    def kill(self) -> None:
        """As a machine that loses its power: all at once, and nobody is told."""
        gone = self.processes()
        for process in gone:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(gone, timeout=END_SECONDS)
        self.process.wait(END_SECONDS)


@dataclass
class RayCluster:
    """Nodes of one cluster, the head first.

    Attributes:
        folder: of logs, and of Ray's own files; a short name, for sockets lie in it.
        port: that nodes join at.
        dashboard_port: that jobs are submitted to.
        environment: of every node, over what tests start processes with.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    nodes: list[RayNode] = field(default_factory=list)

    def start(self, home: Path, command: str | None = None) -> RayNode:
        """Start another node, the first one as the head.

        Args:
            home: its UAD_HOME.
            command: ``ray start ...`` as one types it on a machine of its own; by default that of a node with one
                processor. What many nodes on one machine need besides is added.
        """
        here = "--node-ip-address=127.0.0.1"
        head = not self.nodes
        joined = f"--head --port={self.port} --dashboard-port={self.dashboard_port}" if head else self.address
        typed = command or f"ray start {joined} --num-cpus=1"
        words = [*shlex.split(typed), "--block", here, f"--object-store-memory={OBJECT_STORE_BYTES}"]
        words += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        words += ["--include-log-monitor=false", "--disable-usage-stats"]
        words += [f"--temp-dir={self.folder}", "--dashboard-host=127.0.0.1"] if head else []
        log = self.folder / f"node-{len(self.nodes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / words[0]), *words[1:]],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(home),
                cwd=home,
                start_new_session=True,
            )
        node = RayNode(home, process, log)
        self.nodes.append(node)
        wait_for(lambda: _started(node), START_SECONDS, f"{typed} is up")
        return node

    @property
    def address(self) -> str:
        """What another node joins by."""
        return f"--address=127.0.0.1:{self.port}"

    @property
    def jobs_url(self) -> str:
        """What jobs are submitted to."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def jobs(self) -> list[dict[str, Any]]:
        """Ray's jobs, as its own service tells them."""
        with urllib.request.urlopen(f"{self.jobs_url}/api/jobs/", timeout=60) as answer:
            return json.loads(answer.read())

    def stop_job(self, submission: str) -> None:
        """Stop a job, as ``ray job stop`` does."""
        request = urllib.request.Request(f"{self.jobs_url}/api/jobs/{submission}/stop", method="POST")
        urllib.request.urlopen(request, timeout=60).close()

    def node_of(self, run_id: str) -> RayNode | None:
        """The node that works at a Dagster run now."""
        return next((node for node in self.nodes if node.works_at(run_id)), None)

    def _environment(self, home: Path) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"UAD_HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT)}
        return clean_environment(**PATIENT, **LEAN, **own) | self.environment


@contextmanager
def ray_cluster(**environment: str) -> Iterator[RayCluster]:
    """A cluster without nodes as yet; all that were started are gone when the block ends."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    pytest.importorskip("dagster_ray", reason="the extra ray is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    cluster = RayCluster(folder, environment=environment)
    try:
        yield cluster
    finally:
        for node in reversed(cluster.nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _started(node: RayNode) -> bool:
    said = node.log.read_text(errors="replace")
    if node.process.poll() is not None:
        raise AssertionError(f"the node ended with {node.process.returncode}:\n{said[-3000:]}")
    return "Ray runtime started" in said


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return process.cmdline()
    return []
