"""Text prompts of normal and defective objects, as directions in the space they share with patch embeddings.

The directions stand in the fitted state: scoring needs no text tower. Embeddings of texts are kept in the
embedding cache by (text tower, weights, texts).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from uad_orchestrator.detectors.bank.bank import unit_rows
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, EmbeddingStream
from uad_orchestrator.detectors.open_clip.prompt_settings import PromptFit, PromptSettings
from uad_orchestrator.detectors.protocol.aggregation import Aggregation, aggregate
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.embedders.protocol import TextEmbedder
from uad_orchestrator.images.source import ImageSource

ANY_OBJECT = "object"
"""The class name where none is given."""

TEXTS = "texts"
"""The cache's view that holds embeddings of texts."""


def compose(prompts: PromptSettings, class_name: str) -> tuple[list[str], list[str]]:
    """The normal and the anomalous prompts: every state of the object in every template.

    >>> normal, anomalous = compose(PromptSettings(), "metal nut")
    >>> len(normal), len(anomalous), anomalous[0]
    (154, 88, 'a cropped photo of the damaged metal nut.')
    """
    return _filled(prompts.normal, prompts, class_name), _filled(prompts.anomalous, prompts, class_name)


def prompt_state(stream: EmbeddingStream, settings: PromptFit) -> DetectorState:
    """What a zero-shot detector holds: array ``text``, ``(2, d)`` float32, unit directions of normal and anomalous.

    Each is the mean of its group's unit embeddings, brought to length 1 again.

    Raises:
        ValueError: the embedder has no text tower.
    """
    class_name = settings.class_name or ANY_OBJECT
    groups = compose(settings.prompts, class_name)
    directions = [unit_rows(embed_texts(stream, group)).mean(axis=0, dtype=np.float64) for group in groups]
    return DetectorState(
        arrays={"text": unit_rows(np.stack(directions))},
        facts={
            "images": [],
            "class_name": class_name,
            "normal_prompts": len(groups[0]),
            "anomalous_prompts": len(groups[1]),
            "precision": stream.recipe()["embedder"].get("precision", "float32"),
        },
    )


def embed_texts(stream: EmbeddingStream, texts: Sequence[str]) -> np.ndarray:
    """``(n, d)`` float32 embeddings of texts by the stream's embedder, from the stream's cache where it has them.

    Raises:
        ValueError: the embedder has no text tower, or gives something else than a finite row a text.
    """
    embedder = stream.embedder
    if not isinstance(embedder, TextEmbedder):
        raise ValueError(
            f"{type(embedder).__qualname__} cannot embed prompts: it needs embed_texts and text_recipe, "
            "as the open_clip/ embedders have them"
        )
    space = _digest({"texts": dict(embedder.text_recipe()), "weights": stream.recipe()["weights"]})
    key = _digest(list(texts))
    if stream.cache is not None and (stored := stream.cache.get(space, TEXTS, key)) is not None:
        return stored["text_embeddings"]
    rows = np.ascontiguousarray(embedder.embed_texts(texts), dtype=np.float32)
    if rows.ndim != 2 or len(rows) != len(texts) or not np.isfinite(rows).all():
        raise ValueError(f"embed_texts gave {rows.shape} for {len(texts)} prompts; expected finite (n, d)")
    if stream.cache is not None:
        stream.cache.put(space, TEXTS, key, {"text_embeddings": rows})
    return rows


def prompt_responses(
    stream: EmbeddingStream,
    state: DetectorState,
    images: Iterable[ImageSource],
    patch_scores: Callable[[EmbeddedImage, np.ndarray], np.ndarray],
    aggregation: Aggregation,
    topk: float,
) -> Iterator[Response]:
    """Respond to images in order.

    Args:
        state: as ``prompt_state`` makes it.
        patch_scores: from an image and the unit embeddings ``(n, d)`` of its inspected patches to their ``(n,)``
            scores.
    """
    dimension = state.arrays["text"].shape[1]
    for embedded in stream.stream(images, precision=state.facts["precision"]):
        started = time.perf_counter()
        rows = embedded.embedding.inspected_rows
        if rows.shape[1] != dimension:
            raise ValueError(
                f"{embedded.source.name}: its patch embeddings are of dimension {rows.shape[1]}, the prompts' "
                f"of {dimension}: both have to come from one model, and from one of its layers"
            )
        patches = patch_scores(embedded, unit_rows(rows))
        score = aggregate(patches, aggregation, topk)
        yield Response.of(embedded, score, patches, time.perf_counter() - started)


def similarities(units: np.ndarray, text: np.ndarray) -> np.ndarray:
    """``(n, 2)`` float64 cosines of unit rows to the normal and the anomalous direction."""
    return units.astype(np.float64) @ text.astype(np.float64).T


def _filled(states: Sequence[str], prompts: PromptSettings, class_name: str) -> list[str]:
    # replaced, not formatted: a class name or a template may hold braces
    named = [state.replace("{}", class_name) for state in states]
    return [template.replace("{}", state) for state in named for template in prompts.templates]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
