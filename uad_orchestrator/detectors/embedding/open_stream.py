"""An embedding stream over an embedder given by settings, by name, or as an object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from uad_orchestrator.detectors.embedding.placement import ImagePreset
from uad_orchestrator.detectors.embedding.stream import BatchSize, EmbeddingStream
from uad_orchestrator.embedders.protocol import PatchEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torch_embedder import CPU_BATCH, TorchEmbedder
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.embedding_cache import EmbeddingCache


def open_stream(
    embedder: EmbedderSettings | PatchEmbedder | str | None,
    *,
    preset: ImagePreset | str | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    batch_size: BatchSize = "auto",
    readers: BatchSize = "auto",
    cache: EmbeddingCache | None = None,
) -> EmbeddingStream:
    """A stream over an embedder given by settings, by name, or as an object.

    Args:
        embedder: settings, a name, or an object with ``embed`` (``PatchEmbedder``); None: the stream only reads and
            prepares images, for a detector that brings a network of its own.
        preset: what is done to every image before it is embedded: a preset, a shipped one's name, or None.
        weights: the embedder's weight file; it takes precedence over ``embedder.weights``.
        device: ``auto``, ``cpu``, ``cuda``...: where a torch embedder runs.
        batch_size: images per forward pass; ``auto``: as many as keep the device busy and fit into its memory.
        readers: threads that read images ahead; ``auto``: one for each core.
        cache: where patch embeddings are kept between calls; None: nowhere.

    Returns:
        The stream; the embedder is loaded with the first image.

    Raises:
        ValueError: an unknown embedder, a setting that does not fit it, or a cache for one without ``recipe()``.

    >>> import numpy as np
    >>> from uad_orchestrator.images import ImageSource
    >>> image = ImageSource.from_array(np.zeros((64, 96, 3), np.uint8), name="black")
    >>> [embedded.embedding.grid_shape for embedded in open_stream("filter_bank").stream([image])]
    [(32, 32)]
    """
    if preset is None or isinstance(preset, str):
        from uad_orchestrator.preprocessing.presets import resolve_preset

        preset = resolve_preset(preset or "plain")
    if isinstance(embedder, str):
        embedder = EmbedderSettings(name=embedder)
    load, embedder_recipe = _opened(embedder, weights, device, cache is not None)
    return EmbeddingStream(
        load,
        lambda: {**embedder_recipe(), "preset": dict(preset.pixel_recipe())},
        preset=preset,
        cache=cache,
        batch_size=CPU_BATCH if embedder is None and batch_size == "auto" else batch_size,
        readers=readers,
        device=network_device(embedder, device),
    )


def network_device(embedder: EmbedderSettings | PatchEmbedder | None, device: str) -> str:
    """Where an embedder's network runs; ``cpu`` for one that is not torch's, as far as is known.

    Args:
        embedder: its settings, or an object.
        device: as it was asked for; an object knows its own.

    Returns:
        The word for the device, ``auto`` among them.
    """
    if isinstance(embedder, TorchEmbedder):
        return embedder.device
    if not isinstance(embedder, EmbedderSettings):
        return "cpu"
    from uad_orchestrator.embedders.create import embedder_spec

    return device if "torch" in embedder_spec(embedder.name).needs else "cpu"


_Opened = tuple[Callable[[], PatchEmbedder], Callable[[], dict[str, Any]]]


def _opened(
    embedder: EmbedderSettings | PatchEmbedder | None, weights: Path | str | None, device: str, cached: bool
) -> _Opened:
    if embedder is None:
        return _no_embedder, lambda: {}
    if isinstance(embedder, EmbedderSettings):
        return _from_settings(embedder, weights, device)
    return _from_object(embedder, weights, cached)


def _no_embedder() -> PatchEmbedder:
    raise RuntimeError("this detector brings a network of its own: nothing can be embedded for it")


def _from_settings(given: EmbedderSettings, weights: Path | str | None, device: str) -> _Opened:
    from uad_orchestrator.embedders import create

    settings = create.resolve_settings(given)

    def file() -> Path | None:
        return Path(weights) if weights is not None else create.weight_file(settings, Path())

    def recipe() -> dict[str, Any]:
        return {"embedder": dict(create.embedder_recipe(settings)), "weights": _digest(file())}

    return lambda: create.create_embedder(settings, file(), device), recipe


def _from_object(embedder: PatchEmbedder, weights: Path | str | None, cached: bool) -> _Opened:
    known = hasattr(embedder, "recipe")
    if cached and not known:
        raise ValueError(
            f"{type(embedder).__qualname__} has no recipe(), so a cache could not tell its embeddings from "
            "those of another embedder: give it one, or leave the cache out"
        )

    def recipe() -> dict[str, Any]:
        words = dict(embedder.recipe()) if known else {"name": type(embedder).__qualname__}
        return {"embedder": words, "weights": _digest(Path(weights) if weights is not None else None)}

    return lambda: embedder, recipe


def _digest(file: Path | None) -> str | None:
    return None if file is None else file_digest(file)
