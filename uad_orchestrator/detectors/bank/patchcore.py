"""PatchCore: a coreset of patch embeddings, and the distance to it.

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022; defaults as in
amazon-science/patchcore-inspection (squared distances, maximum over the patches), without its centre crop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uad_orchestrator.detectors.bank.bank import (
    Bank,
    Neighbours,
    select_references,
)
from uad_orchestrator.detectors.bank.bank_detector import BankDetector
from uad_orchestrator.detectors.bank.patchcore_settings import PatchCoreFit, PatchCoreScoring
from uad_orchestrator.detectors.bank.rows.building import build_bank
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource


class PatchCore(BankDetector):
    """``vision_patchcore``; its settings: ``patchcore_settings``."""

    fit_settings: PatchCoreFit
    scoring_settings: PatchCoreScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """A memory bank: the coreset of all patch embeddings of the normals (or the few-shot references)."""
        references = select_references(images, self.fit_settings.references)
        return build_bank(self.stream, references, self.recipe)

    @property
    def recipe(self) -> BankRecipe:
        """The coreset of all patches."""
        settings = self.fit_settings
        return BankRecipe(settings.coreset, settings.seed, index=settings.index, augment=settings.augment)

    @property
    def n_neighbors(self) -> int:
        """As the setting says."""
        return self.scoring_settings.n_neighbors

    def _score(self, bank: Bank, embedded: EmbeddedImage, found: Neighbours) -> tuple[float, np.ndarray]:
        """Patch scores: mean distance to the ``n_neighbors`` nearest bank rows."""
        settings = self.scoring_settings
        distances = found.squared if settings.distance == "l2_squared" else np.sqrt(found.squared)
        patches = distances.mean(axis=1)
        score = aggregate(patches, settings.aggregation, settings.topk)
        if settings.reweight:
            worst = int(patches.argmax())
            patch, match = embedded.embedding.patch_embeddings[worst], int(found.rows[worst, 0])
            score *= reweighting(patch, match, bank, settings.reweight_neighbors, found.left_out)
        return score, patches


def reweighting(
    patch: np.ndarray, match: int, bank: Bank, neighbors: int, left_out: slice | None = None
) -> float:
    """The factor of equation 7: small where the matched bank row is as lonely as the patch is far from it.

    ``1 - softmax`` of the (root) distances from the patch to the ``neighbors`` bank rows nearest to its
    match, the match among them, taken at the match.

    Args:
        patch: ``(d,)`` the patch with the largest score.
        match: number of the bank row nearest to it.
        left_out: bank rows that do not count.
    """
    rows = bank.nearest.bank
    available = len(rows) - (0 if left_out is None else left_out.stop - left_out.start)
    _, around = bank.nearest.search(rows[match : match + 1], min(neighbors, available), left_out)
    support = np.unique(np.append(around[0], match))
    distances = np.linalg.norm(rows[support].astype(np.float64) - patch, axis=1)
    own = float(np.linalg.norm(rows[match].astype(np.float64) - patch))
    largest = distances.max()  # softmax without overflow
    return 1.0 - float(np.exp(own - largest) / np.exp(distances - largest).sum())
