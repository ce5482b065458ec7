"""Spawned processes that run cells: each takes a group of cells at a time and loads a backbone once per group."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread

import dagster as dg

from uad_orchestrator.garbage import keep_what_is_loaded
from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
from uad_orchestrator.orchestration.dagster_instance.instance import (
    InstanceReference,
    open_reference,
    reference_to,
)
from uad_orchestrator.orchestration.dagster_instance.interrupts import noticed_interrupts
from uad_orchestrator.orchestration.execution.cell_runs import (
    CellOutcome,
    CellRunner,
    CellTask,
    Failed,
    Skipped,
)
from uad_orchestrator.project import Project

Group = Sequence[CellTask]
"""Cells that share an embedder and a category: run one after the other, each image is embedded once."""


def run_groups(
    project: Project, instance: dg.DagsterInstance, refresh_id: str, groups: Sequence[Group], workers: int
) -> Iterator[CellOutcome]:
    """Run all groups, yielding each cell's outcome as it ends; in this process where one worker has it all to do.

    A worker that dies (killed, out of memory) costs the cell it was at: that one is reported as failed and the
    rest of its group goes to another worker.
    """
    runtime, workers = project.runtime, min(workers, len(groups))
    if workers <= 1:
        yield from run_here(CellRunner(project, instance, refresh_id, runtime.devices[:1]), groups)
        return
    devices = runtime.devices or (runtime.device,)
    pool = WorkerPool(project, reference_to(instance), refresh_id, list(islice(cycle(devices), workers)))
    yield from pool.run(deque(deque(group) for group in groups if group))


def run_here(runner: CellRunner, groups: Sequence[Group]) -> Iterator[CellOutcome]:
    """Run all groups in this process, yielding each cell's outcome as it ends."""
    with noticed_interrupts() as interrupted:
        for task in (task for group in groups for task in group):
            yield runner.run(task)
            if interrupted():
                raise KeyboardInterrupt


@dataclass
class _Worker:
    """A process, the device it has, the connection to it, and what it has yet to do."""

    device: str
    process: SpawnProcess
    connection: Connection
    group: deque[CellTask]
    alive: bool = True


@dataclass
class WorkerPool:
    """A worker process for each of ``devices``, which may stand there several times; one that dies is replaced."""

    project: Project
    instance: InstanceReference
    refresh_id: str
    devices: Sequence[str]

    def run(self, groups: deque[deque[CellTask]]) -> Iterator[CellOutcome]:
        workers = [self._start(device) for device in self.devices]
        try:
            for worker in workers:
                _hand_over(worker, groups)
            while any(worker.group for worker in workers):
                for index, worker in enumerate(workers):
                    if worker.group and _answered(worker, workers):
                        yield self._outcome(worker)
                        if not worker.alive:
                            workers[index] = self._start(worker.device, worker.group)
                        workers[index].group.popleft()
                        _hand_over(workers[index], groups)
        finally:
            for worker in workers:
                _stop(worker)

    def _outcome(self, worker: _Worker) -> CellOutcome:
        """What the worker answers; that the cell is lost, if it died instead."""
        try:
            return worker.connection.recv()
        except (EOFError, ConnectionResetError):
            worker.alive = False
            return _lost(worker.group[0], worker.process)

    def _start(self, device: str, group: deque[CellTask] | None = None) -> _Worker:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=serve,
            args=(theirs, self.project, self.instance, self.refresh_id, len(self.devices), device),
            daemon=True,
        )
        process.start()
        theirs.close()
        return _Worker(device, process, ours, group if group is not None else deque())


def serve(
    connection: Connection,
    project: Project,
    instance: InstanceReference,
    refresh_id: str,
    workers: int,
    device: str,
) -> None:
    """A worker's life: take a task, run it, answer, until the connection is closed."""
    from threadpoolctl import threadpool_limits

    die_with_parent()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threads = max(1, (os.cpu_count() or 1) // workers)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))  # for what is loaded from here on, torch for one
    with (
        threadpool_limits(limits=threads),  # for what is loaded already
        open_reference(instance) as opened,
        held_connections(opened),
        suppress(EOFError, BrokenPipeError),
    ):
        runner = CellRunner(project, opened, refresh_id, (device,))
        keep_what_is_loaded()
        while True:
            connection.send(runner.run(connection.recv()))


def die_with_parent() -> None:
    """End this process at once when the one that started it does: nobody would read what it goes on to compute.

    What it was writing is a draft, which the next refresh removes.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, name="die-with-parent", daemon=True).start()


def _hand_over(worker: _Worker, groups: deque[deque[CellTask]]) -> None:
    """Give a worker its next task; a new group when its own is done."""
    if not worker.group and groups:
        worker.group = groups.popleft()
    if worker.group:
        with suppress(BrokenPipeError):  # it died since it answered, which the next look finds
            worker.connection.send(worker.group[0])


def _answered(worker: _Worker, workers: Sequence[_Worker]) -> bool:
    """Whether the worker has an answer, or died; waits until any of the workers does."""
    busy = [w.connection for w in workers if w.group]
    return worker.connection in wait(busy)


def _lost(task: CellTask, process: SpawnProcess) -> CellOutcome:
    process.join(timeout=5)
    error = (
        f"the worker process died (exit status {process.exitcode}) while it ran this cell: killed, or out of "
        "memory? Run it again with fewer workers"
    )
    cell = task.cell
    return CellOutcome(
        cell,
        failed=(Failed(task.assets[0], cell.category, cell.detector, error),),
        skipped=tuple(Skipped(asset, cell.category, cell.detector) for asset in task.assets[1:]),
    )


def _stop(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join(timeout=5)
    if worker.process.is_alive():
        worker.process.terminate()
