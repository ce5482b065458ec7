"""From an image's patch embeddings to its patch scores and its image score, detector by detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uad_orchestrator.detectors.bank.anomaly_dino_settings import AnomalyDinoScoring
from uad_orchestrator.detectors.bank.patchcore_settings import PatchCoreScoring
from uad_orchestrator.detectors.bank.softpatch_settings import SoftPatchScoring
from uad_orchestrator.detectors.protocol.settings import ScoringSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.export.onnx.search import Bank, reweighting, rounded, unit_rows

Scores = Callable[[Any], tuple[Any, Any]]
"""From ``(m, d)`` patch embeddings to the ``(1,)`` image score and the ``(m,)`` patch scores."""


def patch_scores(settings: ScoringSettings, state: DetectorState) -> Scores:
    """The scores of the detector that these settings belong to, as its ``_score`` gives them."""
    bank = Bank.of(state)
    if isinstance(settings, PatchCoreScoring):
        score = _patchcore(bank, settings)
    elif isinstance(settings, SoftPatchScoring):
        score = _softpatch(bank, settings, state.arrays.get("weights"))
    else:
        assert isinstance(settings, AnomalyDinoScoring)  # ``refusals`` lets no other one through
        score = _anomaly_dino(bank, settings)

    def of_patches(patches: Any) -> tuple[Any, Any]:
        patches = rounded(patches, state.facts["precision"])
        patches = unit_rows(patches) if state.facts["normalised"] else patches
        return score(patches - bank.centre)

    return of_patches


def _patchcore(bank: Bank, settings: PatchCoreScoring) -> Scores:
    def score(centred: Any) -> tuple[Any, Any]:
        squared, rows = bank.nearest(centred, settings.n_neighbors)
        patches = (squared if settings.distance == "l2_squared" else squared.sqrt()).mean(dim=1)
        image = _aggregated(patches, settings)
        if settings.reweight:
            worst = patches.argmax().reshape(1)
            image = image * reweighting(bank, centred[worst], rows[worst, 0], settings.reweight_neighbors)
        return image, patches

    return score


def _softpatch(bank: Bank, settings: SoftPatchScoring, weights: np.ndarray | None) -> Scores:
    import torch

    of_rows = torch.from_numpy(np.asarray(weights, np.float32)) if weights is not None else None

    def score(centred: Any) -> tuple[Any, Any]:
        squared, rows = bank.nearest(centred, settings.n_neighbors)
        if settings.soft_weights and of_rows is not None:
            squared = squared * of_rows[rows]
        patches = squared.mean(dim=1)
        return _aggregated(patches, settings), patches

    return score


def _anomaly_dino(bank: Bank, settings: AnomalyDinoScoring) -> Scores:
    def score(centred: Any) -> tuple[Any, Any]:
        squared, _ = bank.nearest(centred, settings.n_neighbors)
        patches = squared.mean(dim=1) / 2
        return _aggregated(patches, settings), patches

    return score


def _aggregated(patches: Any, settings: PatchCoreScoring | SoftPatchScoring | AnomalyDinoScoring) -> Any:
    """``(1,)``, as ``detectors.protocol.aggregation.aggregate``."""
    import torch

    if settings.aggregation == "max":
        return patches.amax(dim=0, keepdim=True)
    if settings.aggregation == "mean":
        return patches.mean(dim=0, keepdim=True)
    share = (torch.as_tensor(patches.shape[0]).double() * settings.topk).long()
    return patches.topk(torch.clamp(share, min=1)).values.mean(dim=0, keepdim=True)
