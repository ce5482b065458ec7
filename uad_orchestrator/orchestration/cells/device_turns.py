"""Which device a cell runs on, and when: a GPU that several processes share takes so many cells at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from uad_orchestrator.embedders.create import embedder_spec
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool

ON_DEVICE = frozenset({"memory_bank", "score_table"})
"""The stages that run a network. Maps and metrics are the CPU's, so another cell may have the GPU meanwhile."""

LOOK_AGAIN = 0.05
"""Seconds between two looks at a device that is taken."""

logger = logging.getLogger(__name__)


@contextmanager
def device_turn(run: CellRun, asset: str, embedders: EmbedderPool) -> Iterator[None]:
    """Wait until a device has room for the cell, and keep it for the time of the block.

    Several workers on one GPU would each take as much of its memory as if it were theirs alone. What runs on the CPU,
    and the one process of a refresh without workers, never waits.
    """
    devices = embedders.devices or run.state.project.runtime.devices
    if asset not in ON_DEVICE or not devices or not _has_network(run):
        yield
        return
    folder = Path(run.state.project.storage.local) / "locks"
    with free_device(devices, folder, run.state.project.runtime.cells_per_device) as device:
        embedders.devices = (device,)  # what is loaded stays there
        yield


@contextmanager
def free_device(devices: Sequence[str], folder: Path, cells: int) -> Iterator[str]:
    """The first of the devices that has room, as soon as one has; it is given back even where its holder is killed.

    Args:
        devices: words as in ``runtime.devices``, or ``auto``.
        folder: of the lock files, on a local disk; it exists.
        cells: how many share a GPU at most.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    resolved = [_resolved(device) for device in devices]
    places = [(device, place) for place in range(cells) for device in resolved if device != "cpu"]
    waited = False
    while True:
        for device, place in places:
            lock = FileLock(folder / f"device-{device.replace(':', '-')}-{place}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        if "cpu" in resolved:
            yield "cpu"
            return
        if not waited:
            logger.info("Other cells are at work on %s: waiting for one of them.", ", ".join(resolved))
            waited = True
        time.sleep(LOOK_AGAIN)


def _resolved(device: str) -> str:
    """``cpu``, ``mps``, ``cuda:1``: two words for one GPU become one."""
    if device not in ("auto", "cuda"):
        return device
    from uad_orchestrator.embedders.torch_device import choose_device

    chosen = choose_device(device)
    return f"{chosen.type}:{chosen.index or 0}" if chosen.type == "cuda" else str(chosen)


def _has_network(run: CellRun) -> bool:
    """Whether the cell's detector runs torch: filter_bank never does, so its workers do not wait for a GPU."""
    embedder = run.entry.embedder
    return embedder is None or "torch" in embedder_spec(embedder.name).needs
