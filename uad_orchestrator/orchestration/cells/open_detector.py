"""A cell's detector, over the project's embedding cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator.detectors.create import build_detector
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.orchestration.cells.artifact_files import EMBEDDINGS, TRAININGS
from uad_orchestrator.orchestration.cells.cell_run import CellRun, ChangedWhileRead
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.storage.embedding_cache import EmbeddingCache, KeptEmbeddings
from uad_orchestrator.storage.shared_embeddings import SharedEmbeddings

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.detector import Detector
    from uad_orchestrator.embedders.protocol import PatchEmbedder
    from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool


def open_detector(run: CellRun, embedders: EmbedderPool) -> Detector:
    """The cell's detector over the project's embedding cache; the embedder is loaded when it is first needed."""
    from uad_orchestrator.detectors.embedding.open_stream import network_device, open_stream
    from uad_orchestrator.detectors.embedding.stream import EmbeddingStream

    entry, project = run.entry, run.state.project
    preset, runtime = resolve_preset(entry.preset, project.presets), project.runtime
    device = embedders.device(runtime)
    if entry.embedder is None:
        stream = open_stream(None, preset=preset, batch_size=runtime.batch_size, readers=runtime.readers)
        return build_detector(entry.model, run.settings, stream, **_own_network(run, device))
    embedder = entry.embedder
    weights = run.state.weights(run.cell)
    recipe = {
        "embedder": run.state.input("fit_settings", run.cell).content["embedder"],
        "weights": run.state.input("checkpoint", run.cell).content["embedder_weights"],
        "preset": preset.pixel_recipe(),
    }

    def load_embedder() -> PatchEmbedder:
        if weights is not None and run.state.digests(weights) != recipe["weights"]:  # the cache's key has it
            raise ChangedWhileRead(f"{weights} was replaced after it was fingerprinted")
        return embedders.get(embedder, weights, device)

    stream = EmbeddingStream(
        load_embedder,
        lambda: recipe,
        preset=preset,
        cache=_embedding_cache(run),
        batch_size=runtime.batch_size,
        readers=runtime.readers,
        device=network_device(embedder, device),
        handed_on=embedders.handed_on,
    )
    return build_detector(entry.model, run.settings, stream)


def _embedding_cache(run: CellRun) -> KeptEmbeddings:
    storage = run.state.project.storage
    cache = EmbeddingCache(Path(storage.local) / EMBEDDINGS)
    if storage.embeddings == "local":
        return cache
    return SharedEmbeddings(cache, run.store.location, run.cell.category)


def _own_network(run: CellRun, device: str) -> dict[str, Any]:
    """What a detector is handed that brings a network of its own."""
    project = run.state.project
    known = "reading" in detector_spec(run.entry.model).parts  # another package's may bring a network, too
    reading = {"reading": project.reading(run.cell.dataset)} if known else {}
    return {
        **reading,
        "checkpoint": run.state.checkpoint(run.cell),
        "trusted_checkpoints": project.trusted_checkpoints,
        "device": device,
        "folder": training_folder(run),
    }


def training_folder(run: CellRun) -> Path:
    """Where a training of this very bank keeps its checkpoints, to go on from there if it is cut off."""
    return Path(run.state.project.storage.local) / TRAININGS / run.key("memory_bank").version
