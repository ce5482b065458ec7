"""Detectors made ready to be fitted, from settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.embedders.create import embedder_spec
from uad_orchestrator.embedders.settings import EmbedderSettings

if TYPE_CHECKING:
    from uad_orchestrator.detectors.embedding.placement import ImagePreset
    from uad_orchestrator.detectors.embedding.stream import BatchSize, EmbeddingStream
    from uad_orchestrator.detectors.protocol.detector import Detector
    from uad_orchestrator.detectors.protocol.spec import DetectorSpec
    from uad_orchestrator.embedders.protocol import PatchEmbedder
    from uad_orchestrator.storage.embedding_cache import EmbeddingCache


def build_detector(model: str, stages: StageSettings, stream: EmbeddingStream, **parts: Any) -> Detector:
    """A detector over an embedding stream, from settings that are already cut into stages.

    Args:
        model: ``vision_patchcore``, ...
        stages: its settings, from ``DetectorSpec.cut``.
        stream: turns images into patch embeddings.
        parts: those of ``DetectorSpec.parts`` that are not to have their defaults.

    Returns:
        The detector, not fitted; with ``stages.tiling`` a ``TiledDetector`` around it.

    Raises:
        ValueError: there is no such detector.
        ImportError: its module cannot be imported.
    """
    spec = detector_spec(model)
    detector = spec.load()(stream, stages.fit, stages.scoring, stages.maps, **{**spec.parts, **parts})
    if stages.tiling is None:
        return detector
    from uad_orchestrator.detectors.tiled import TiledDetector

    return TiledDetector(detector, **stages.tiling.model_dump())


def create_detector(
    model: str,
    *,
    embedder: EmbedderSettings | Mapping[str, Any] | PatchEmbedder | str | None = None,
    preset: ImagePreset | str | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    batch_size: BatchSize = "auto",
    readers: BatchSize = "auto",
    cache: EmbeddingCache | None = None,
    **settings: Any,
) -> Detector:
    """A detector, ready to be fitted. Nothing is loaded until it is needed.

    Args:
        model: ``vision_patchcore``, ``vision_anomalydino``, ...
        embedder: settings, as a model or as they stand in a project file, ``{"name": "resnet18", "image_size": 256}``
            (without a name they are laid over the detector's own); an embedder's name; or an object with ``embed``
            (``PatchEmbedder``); None: the detector's own default. An embedder that is handed in is called with the
            images as the preset leaves them, and its ``recipe()`` has to tell its weights apart when a ``cache`` is
            given.
        preset: what is done to every image before it is embedded: a preset, a shipped one's name, or None.
        weights: the embedder's weight file; it takes precedence over ``embedder.weights``.
        device: ``auto``, ``cpu``, ``cuda``...: where a torch embedder runs.
        batch_size: images per forward pass; ``auto``: as many as keep the device busy and fit into its memory.
        readers: threads that read images ahead of the embedder; ``auto``: one for each core.
        cache: where patch embeddings are kept between calls; None: only while one ``fit`` runs.
        settings: the detector's settings, flat as in a project file: ``coreset={"ratio": 0.1}``,
            ``contamination=0.1``, ``maps={"gaussian_sigma": 4}``, ``tiling={"tile_size": 512}``,
            ``class_name="bottle"``; and what it is handed besides, where it takes such parts:
            ``checkpoint="m.pt"``, ``trusted_checkpoints=[...]``, ``inferencer=...`` (``AnomalibParts``).

    Returns:
        The detector; with ``tiling`` among the settings it works on tiles.

    Raises:
        ValueError: an unknown model, setting or embedder; a value that is not allowed.
        TypeError: an ``embedder`` that is none of these.
        ImportError: the embedder needs an extra that is not installed, or a plug-in cannot be used (``PluginError``).

    >>> import numpy as np
    >>> normals = np.random.default_rng(0).integers(90, 110, (6, 64, 64, 3), dtype=np.uint8)
    >>> detector = create_detector("vision_patchcore", coreset={"ratio": 0.5}, contamination=0.2).fit(normals)
    >>> detector.get_anomaly_map(normals[0]).shape
    (64, 64)
    """
    from uad_orchestrator.detectors.embedding.open_stream import open_stream

    spec = detector_spec(model)
    parts = {name: settings.pop(name) for name in spec.parts.keys() & settings.keys()}
    if "device" in spec.parts:
        parts["device"] = device
    stages = spec.cut(settings)
    embedder = spec.default_embedder if embedder is None else embedder
    if isinstance(embedder, str):
        embedder = EmbedderSettings(name=embedder)
    elif isinstance(embedder, Mapping):
        embedder = _embedder_settings(spec, embedder)
    elif not (embedder is None or isinstance(embedder, EmbedderSettings) or hasattr(embedder, "embed")):
        raise TypeError(
            f"embedder is a {type(embedder).__qualname__}; expected a name, settings, or an object with embed()"
        )
    if spec.check_embedder is not None and isinstance(embedder, EmbedderSettings):
        spec.check_embedder(embedder)
    stream = open_stream(
        embedder,
        preset=preset,
        weights=weights,
        device=device,
        batch_size=batch_size,
        readers=readers,
        cache=cache,
    )
    return build_detector(model, stages, stream, **parts)


def _embedder_settings(spec: DetectorSpec, given: Mapping[str, Any]) -> EmbedderSettings:
    """The settings of an ``embedder:`` entry; without a name, or with the default's own, the default's underlie it."""
    default = spec.default_embedder
    if default is None:
        raise ValueError(f"embedder: {spec.model} has a network of its own; leave the embedder out")
    name = given.get("name", default.name)
    underlying = default.model_dump(exclude_unset=True) if name == default.name else {}
    try:
        return embedder_spec(str(name)).settings.model_validate({**underlying, **given})
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, ('embedder', *fault['loc'])))}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise ValueError("; ".join(faults)) from error
