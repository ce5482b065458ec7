"""A GPU that processes share takes so many cells at a time. ``cpu:0`` and ``cpu:1`` stand in for two GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.device_turns import device_turn, free_device
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

HOLDER = """
import sys, time
from pathlib import Path
from uad_orchestrator.orchestration.cells.device_turns import free_device
with free_device(["cpu:0"], Path(sys.argv[1]), 1):
    print("taken", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("cells", "devices"), [(1, ["cpu:0"]), (2, ["cpu:0"]), (1, ["cpu:0", "cpu:1"])])
def test_never_more_cells_than_a_device_takes(tmp_path: Path, cells: int, devices: list[str]) -> None:
    lock, inside, most = threading.Lock(), Counter[str](), Counter[str]()

    def work() -> None:
        with free_device(devices, tmp_path, cells) as device:
            with lock:
                inside[device] += 1
                most[device] = max(most[device], inside[device])
            time.sleep(0.3)
            with lock:
                inside[device] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most == dict.fromkeys(devices, cells)


def test_the_cpu_takes_everyone_but_a_free_gpu_comes_first(tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = [stack.enter_context(free_device(["cpu", "cpu:0"], tmp_path, 1)) for _ in range(3)]
    assert found == ["cpu:0", "cpu", "cpu"]


def test_a_killed_holder_gives_its_device_back(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "taken\n"
    threading.Timer(0.5, os.kill, (holder.pid, signal.SIGKILL)).start()
    started = time.monotonic()
    with free_device(["cpu:0"], tmp_path, 1):
        assert time.monotonic() - started > 0.3
    holder.communicate(timeout=60)


@pytest.mark.parametrize(("embedder", "waiting"), [("filter_bank", ()), ("resnet18", STAGES[:2])])
def test_only_a_networks_stages_wait(tmp_path: Path, embedder: str, waiting: tuple[str, ...]) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    settings: dict[str, Any] = {"name": embedder, "image_size": 64}
    if embedder == "resnet18":
        settings["weights"] = "random:0"
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(embedder=settings))
    project = workshop.project
    run = CellRun(Cell("alpha/disc", "patchcore"), open_state(project), open_store(project))
    taken = []
    for asset in STAGES:
        with device_turn(run, asset, EmbedderPool(("cpu:0",))):
            locks = Path(project.storage.local) / "locks"
            if list(locks.glob("device-cpu-0-*")) and not _is_free(locks):
                taken.append(asset)
    assert tuple(taken) == waiting


def _is_free(locks: Path) -> bool:
    with free_device(["cpu:0", "cpu"], locks, 1) as device:
        return device == "cpu:0"


def test_a_run_keeps_to_the_device_it_found_free(tmp_path: Path) -> None:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]})
    settings = {"name": "resnet18", "image_size": 64, "weights": "random:0"}
    workshop.edit(lambda values: values["detectors"]["patchcore"].update(embedder=settings))
    project = workshop.project
    run = CellRun(Cell("alpha/disc", "patchcore"), open_state(project), open_store(project))
    pool = EmbedderPool(("cpu:0", "cpu:1"))
    with (
        free_device(["cpu:0"], Path(project.storage.local) / "locks", 1),
        device_turn(run, "memory_bank", pool),
    ):
        pass
    with device_turn(run, "score_table", pool):
        assert pool.device(project.runtime) == "cpu:1"
