"""A refresh that is interrupted stops at once, keeps what was finished, and the next one goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.orchestration.workshop import Workshop

UAD = [sys.executable, "-m", "uad_orchestrator.cli"]
ROOT = Path(__file__).parents[3]


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)], ids=["ctrl-c", "kill-9"]
)
def test_an_interrupted_refresh_continues(tmp_path: Path, how: signal.Signals, status: int) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("DAGSTER_HOME", None)
    command = [*UAD, "refresh", "--home", str(tmp_path), "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _wait_for(tmp_path / ".uad/artifacts/metrics_report", process)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == status

    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    result = json.loads(done.stdout)
    assert result["failed"] == []
    computed = {(n["asset"], n["category"], n["detector"]) for n in result["materialized"] if not n["reused"]}
    assert 0 < len([node for node in computed if node[0] == "metrics_report"]) < 3  # of three cells
    assert workshop.plan().stale == ()


def _wait_for(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.rglob("provenance.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
