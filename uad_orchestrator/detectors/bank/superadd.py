"""SuperADD-like: several layers of a ViT, a memory bank each, tiles stitched at token level; training-free.

After "SuperADD: Training-free Class-agnostic Anomaly Segmentation", the strongest of its kind on MVTec AD 2:
tokens as the blocks leave them, one thinned bank per layer, the nearest neighbour in each, maps averaged. Three
things are ours: DINOv2 instead of DINOv3, the thinning (``density_rows``), and the thresholds. The recipe's
pixel threshold, 1.421 times the 95 % quantile of the validation normals' pixels, is a factor tuned on one
dataset; here both thresholds are calibrated as every detector's are, so that a rate of false alarms stands
behind them.
"""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from uad_orchestrator.detectors.bank.bank import Bank, select_references, unit_rows
from uad_orchestrator.detectors.bank.rows.building import build_bank, declared_precision
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.bank.rows.refilled import groups_to_refill, refilled_banks
from uad_orchestrator.detectors.bank.superadd_settings import SuperAddFit, SuperAddScoring
from uad_orchestrator.detectors.bank.token_tiles import tiled_stream
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import MapSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.images.source import ImageSource

OF_A_LAYER = ("bank", "rows", "row_starts", "turns", "nearest")
"""The arrays each layer has its own of, the last two of a greedy coreset; in the state they are called ``bank_0``,
``bank_1``..."""


class SuperAdd(Detector):
    """``vision_superadd``; its settings: ``superadd_settings``."""

    fit_settings: SuperAddFit
    scoring_settings: SuperAddScoring

    def __init__(
        self, stream: EmbeddingStream, fit: SuperAddFit, scoring: SuperAddScoring, maps: MapSettings
    ) -> None:
        super().__init__(tiled_stream(stream, fit.tiles), fit, scoring, maps)

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """A memory bank per layer, each thinned to at most ``max_rows``."""
        references = select_references(images, self.fit_settings.references)
        arrays: dict[str, np.ndarray] = {}
        facts: list[Mapping[str, Any]] = []
        with self.stream.caching():
            for layer, columns in enumerate(self._layers(references[0])):
                bank = build_bank(self.stream, references, self._recipe(columns))
                arrays |= _of_layer(bank, layer)
                facts.append(bank.facts)
        return DetectorState(arrays, _joined(facts))

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Patch scores (mean over the layers of the distance to the layer's bank) and the image score."""
        banks = state.once(_banks, self.stream.device)
        for embedded in self.stream.stream(images, precision=state.facts["precision"]):
            started = time.perf_counter()
            parts = np.split(embedded.embedding.inspected_rows, len(banks), axis=1)
            patches = np.zeros(len(parts[0]), np.float32)
            for bank, part in zip(banks, parts, strict=True):
                patches += self._distances(bank, part, bank.rows_of(embedded.source) if leave_out else None)
            patches /= len(banks)
            score = aggregate(patches, self.scoring_settings.aggregation, self.scoring_settings.topk)
            yield Response.of(embedded, score, patches, time.perf_counter() - started)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether every layer's bank has ``n_neighbors`` rows of other groups."""
        banks, n_neighbors = state.once(_banks, self.stream.device), self.scoring_settings.n_neighbors
        return lambda image: all(bank.rows_without(image) >= n_neighbors for bank in banks)

    def groups_to_refill(self, state: DetectorState) -> int:
        """All or some groups where the layers' banks were thinned."""
        return groups_to_refill(_layer(state, 0), self._recipe(slice(None)))

    def states_without(
        self, state: DetectorState, fitted: Sequence[ImageSource], groups: Sequence[str]
    ) -> Iterator[DetectorState]:
        """Every layer's bank without each group's rows, refilled by the patches of the others."""
        with self.stream.caching():
            layers = [
                refilled_banks(self.stream, _layer(state, number), fitted, self._recipe(columns), groups)
                for number, columns in enumerate(self._layers(fitted[0]))
            ]
            for banks in zip(*layers, strict=True):
                arrays = (_of_layer(bank, number) for number, bank in enumerate(banks))
                yield DetectorState(dict(ChainMap(*arrays)), state.facts)

    def _recipe(self, columns: slice) -> BankRecipe:
        """The bank of one layer, which is these columns of the embeddings."""
        settings = self.fit_settings
        return BankRecipe(
            settings.coreset,
            settings.seed,
            normalised=settings.distance == "cosine",
            columns=columns,
            max_rows=settings.max_rows,
            precision=declared_precision(self.stream) or "float32",
            augment=settings.augment,
        )

    def _distances(self, bank: Bank, rows: np.ndarray, left_out: slice | None) -> np.ndarray:
        cosine = self.fit_settings.distance == "cosine"
        rows = unit_rows(rows, self.stream.device) if cosine else np.ascontiguousarray(rows)
        squared, _ = bank.nearest.search(rows, self.scoring_settings.n_neighbors, left_out)
        return (squared / 2 if cosine else np.sqrt(squared)).mean(axis=1)

    def _layers(self, image: ImageSource) -> list[slice]:
        """The columns of each layer in an embedding, where the embedder keeps its layers apart."""
        (embedded,) = self.stream.stream([image], precision=declared_precision(self.stream) or "float32")
        dimension = embedded.embedding.patch_embeddings.shape[1]
        layers = token_layers(self.stream.recipe()["embedder"])
        if dimension % layers:
            raise ValueError(
                f"the embedder names {layers} layers, but its embeddings of {dimension} do not divide by them"
            )
        width = dimension // layers
        return [slice(start, start + width) for start in range(0, dimension, width)]


def token_layers(embedder: Mapping[str, Any]) -> int:
    """How many layers stand side by side in an embedding, by its embedder's recipe.

    Those of a ViT, whose recipe says which ``norm`` its tokens have passed; a CNN's layers are pooled into one.
    """
    return len(embedder["layers"]) if "norm" in embedder else 1


def _joined(facts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The layers' facts as those of one state: counts added up, the largest of the coverages."""
    reach = [layer["coverage"] for layer in facts]
    return {
        **facts[0],
        "layers": len(facts),
        "bank_rows": sum(layer["bank_rows"] for layer in facts),
        "coverage": {name: max(layer[name] for layer in reach) for name in reach[0]},
    }


def _banks(state: DetectorState, device: str) -> list[Bank]:
    """Each layer's bank."""
    return [Bank(_layer(state, number), device) for number in range(state.facts["layers"])]


def _layer(state: DetectorState, number: int) -> DetectorState:
    of_layer = {name: state.arrays.get(f"{name}_{number}") for name in OF_A_LAYER}
    return DetectorState({name: array for name, array in of_layer.items() if array is not None}, state.facts)


def _of_layer(bank: DetectorState, number: int) -> dict[str, np.ndarray]:
    return {f"{name}_{number}": bank.arrays[name] for name in OF_A_LAYER if name in bank.arrays}
