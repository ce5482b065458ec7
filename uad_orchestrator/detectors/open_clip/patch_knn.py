"""Patch nearest neighbours by cosine distance on OpenCLIP tokens: AnomalyDINO's scores, without its views and mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uad_orchestrator.detectors.bank.bank import (
    Bank,
    Neighbours,
    select_references,
)
from uad_orchestrator.detectors.bank.bank_detector import BankDetector
from uad_orchestrator.detectors.bank.rows.building import build_bank
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.detectors.open_clip.patch_knn_settings import PatchKnnFit, PatchKnnScoring
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource


class OpenClipPatchKnn(BankDetector):
    """``vision_openclip_patchknn``; its settings: ``patch_knn_settings``."""

    fit_settings: PatchKnnFit
    scoring_settings: PatchKnnScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """A memory bank: the coreset of the unit tokens of all normals (or of the few-shot references)."""
        references = select_references(images, self.fit_settings.references)
        return build_bank(self.stream, references, self.recipe)

    @property
    def recipe(self) -> BankRecipe:
        """The coreset of all unit tokens."""
        settings = self.fit_settings
        return BankRecipe(
            settings.coreset,
            settings.seed,
            normalised=True,
            index=settings.index,
            augment=settings.augment,
        )

    @property
    def n_neighbors(self) -> int:
        """As the setting says."""
        return self.scoring_settings.n_neighbors

    def _score(self, bank: Bank, embedded: EmbeddedImage, found: Neighbours) -> tuple[float, np.ndarray]:
        """Patch scores: mean cosine distance to the ``n_neighbors`` nearest bank rows."""
        settings = self.scoring_settings
        patches = found.squared.mean(axis=1) / 2  # of unit vectors: 1 - cosine
        return aggregate(patches, settings.aggregation, settings.topk), patches
