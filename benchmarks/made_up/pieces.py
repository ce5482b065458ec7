"""What a PatchCore cell is made of, each piece alone: reading, network, coreset, search, maps, metrics.

The network gets its input on its device and its output stays there. The embeddings that it gives of the category are
kept in a folder for the coreset, and the bank for the search; the search has the queries of a cell, those of the
normals, which calibrate it, and those of the test images.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_up.cell import Cell, count_pixels

ROUNDS = 2
"""Each piece is timed so often, and the best taken."""

QUERY_IMAGES = 8
"""Images that are searched at once."""

BATCHES = {"cpu": (4, 8, 16), "cuda": (16, 64, 256)}
"""Batch sizes of the network that are tried."""


def best(work: Callable[[], object], device: str = "cpu") -> float:
    """The fewest seconds of several runs, with what was left to do on the device."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        _finish(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def reading_seconds(files: list[Path]) -> float:
    """Decoding on all threads."""
    from uad_orchestrator.images import read_image
    from uad_orchestrator.threads import available_threads

    def read() -> None:
        with ThreadPoolExecutor(available_threads()) as pool:
            for decoded in [pool.submit(read_image, file) for file in files]:
                decoded.result()

    return best(read)


def network_seconds(network: Callable[[Any], Any], images: int, side: int, device: str) -> float:
    """Forward passes alone of so many images, in the best of several batch sizes."""
    import torch

    from uad_orchestrator.embedders.torch_device import exact_kernels

    def forward(batches: list[Any]) -> None:
        for batch in batches:
            network(batch)

    seconds = []
    with torch.inference_mode(), exact_kernels():
        for size in BATCHES[device.split(":", maxsplit=1)[0]]:
            batch = torch.rand(min(size, images), 3, side, side, device=device)
            rest = batch[: images % len(batch)]
            batches = [batch] * (images // len(batch)) + ([rest] if len(rest) else [])
            forward(batches[:1] + batches[-1:])
            seconds.append(best(partial(forward, batches), device))
    return min(seconds)


def accepting(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that the function knows."""
    return {
        name: value for name, value in arguments.items() if name in inspect.signature(function).parameters
    }


def _finish(device: str) -> None:
    """Wait until the device has done what it was handed."""
    if device.startswith("cuda"):  # CUDA only
        import torch

        torch.cuda.synchronize(device)


def _reading(cell: Cell, kept: Path) -> dict[str, float]:
    return {"reading, s": reading_seconds(_files(cell, "train") + _files(cell, "test"))}


def _network(cell: Cell, kept: Path) -> dict[str, float]:
    import torch

    from uad_orchestrator.detectors import open_stream
    from uad_orchestrator.embedders.create import resolve_settings
    from uad_orchestrator.embedders.torchvision.cnn import load_network
    from uad_orchestrator.images import ImageSource

    parts = {part: _files(cell, part) for part in ("train", "test")}
    network = load_network(resolve_settings(cell.embedder), None, torch.device(cell.device))
    seconds = network_seconds(network, sum(map(len, parts.values())), cell.image_size, cell.device)
    stream = open_stream(cell.embedder, device=cell.device)
    for part, files in parts.items():
        embedded = [
            image.embedding.patch_embeddings for image in stream.stream(map(ImageSource.from_path, files))
        ]
        np.save(kept / f"{part}.npy", np.concatenate(embedded))
    return {"network, s": seconds}


def _coreset(cell: Cell, kept: Path) -> dict[str, float]:
    from uad_orchestrator.memory import select_coreset

    rows = np.load(kept / "train.npy")
    select: Callable[[np.ndarray], np.ndarray] = partial(
        select_coreset, ratio=cell.ratio, seed=0, **accepting(select_coreset, device=cell.device)
    )
    np.save(kept / "bank.npy", rows[select(rows)])
    return {"coreset, s": best(lambda: select(rows), cell.device), "patches": len(rows)}


def _search(cell: Cell, kept: Path) -> dict[str, float]:
    """Of the searches that are installed the fastest."""
    from uad_orchestrator.memory import NearestNeighbors

    bank = np.load(kept / "bank.npy")
    queries = np.concatenate([np.load(kept / f"{part}.npy") for part in ("train", "test")])
    size = QUERY_IMAGES * len(queries) // len(_files(cell, "train") + _files(cell, "test"))
    device = accepting(NearestNeighbors, device=cell.device)

    def search(backend: str) -> None:
        nearest = NearestNeighbors(bank, backend, **device)  # type: ignore[arg-type]
        for start in range(0, len(queries), size):
            nearest.search(queries[start : start + size])

    seconds = {backend: best(partial(search, backend), cell.device) for backend in _backends(cell.device)}
    return {"search, s": min(seconds.values()), "bank rows": len(bank), "queries": len(queries)}


def _backends(device: str) -> Iterator[str]:
    from importlib.util import find_spec
    from typing import get_args

    from uad_orchestrator.memory.nearest import Backend

    if device != "cpu":
        yield "auto"
        return
    for backend in get_args(Backend):
        if backend not in ("auto", "faiss") or (backend == "faiss" and find_spec("faiss")):
            yield backend


def _maps(cell: Cell, kept: Path) -> dict[str, float]:
    """The test images' maps, on all threads."""
    return {"maps, s": best(lambda: _laid(cell)), "maps": len(_files(cell, "test"))}


def _metrics(cell: Cell, kept: Path) -> dict[str, float]:
    """Their pixel metrics, on all threads."""
    maps, masks = _laid(cell), [_mask_files(file) for file in _files(cell, "test")]
    return {"metrics, s": best(lambda: count_pixels(maps, masks).compute())}


def _laid(cell: Cell) -> list[np.ndarray]:
    """The maps of made-up patch grids."""
    from uad_orchestrator.embedders.protocol import Region
    from uad_orchestrator.images import image_size
    from uad_orchestrator.postprocess import anomaly_map
    from uad_orchestrator.threads import available_threads

    files = _files(cell, "test")
    size, side = image_size(files[0]), cell.image_size // 8
    grids = np.random.default_rng(0).random((len(files), side, side), np.float32)

    def lay(grid: np.ndarray) -> np.ndarray:
        return anomaly_map(grid, Region(0.0, 0.0, *size), size, (cell.image_size, cell.image_size))

    with ThreadPoolExecutor(available_threads()) as pool:
        return list(pool.map(lay, grids))


def _files(cell: Cell, part: str) -> list[Path]:
    return sorted((Path(cell.folder) / part).glob("*/*.png"))


def _mask_files(file: Path) -> list[Path]:
    mask = file.parents[2] / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"
    return [mask] if mask.exists() else []


PIECES = {
    "reading": _reading,
    "network": _network,
    "coreset": _coreset,
    "search": _search,
    "maps": _maps,
    "metrics": _metrics,
}


if __name__ == "__main__":
    _, names, given, folder = sys.argv
    found: dict[str, float] = {}
    for name in names.split(","):
        found |= PIECES[name](Cell(**json.loads(given)), Path(folder))
    print(json.dumps(found))
