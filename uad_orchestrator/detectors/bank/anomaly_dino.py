"""AnomalyDINO: cosine distance to a bank of DINOv2 tokens, few-shot or with all normals.

Damm et al., "AnomalyDINO: Boosting Patch-based Few-shot Anomaly Detection with DINOv2", WACV 2025; as in
dammsi/AnomalyDINO. Deviations: the map is laid on the region the tokens cover, not stretched over the image;
references are turned after the preset, not before, so that what is embedded is always the region inspected; the
object's mask grows on the patch grid, not along the flattened tokens (``object_mask: official`` for that).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from uad_orchestrator.detectors.bank.anomaly_dino_settings import AnomalyDinoFit, AnomalyDinoScoring
from uad_orchestrator.detectors.bank.bank import (
    Bank,
    Neighbours,
    select_references,
)
from uad_orchestrator.detectors.bank.bank_detector import BankDetector
from uad_orchestrator.detectors.bank.object_mask import ObjectFinder
from uad_orchestrator.detectors.bank.rows.building import build_bank
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource

AGNOSTIC_ANGLES = tuple(float(angle) for angle in range(0, 360, 45))
"""Degrees of the references' views where nothing is known of how parts lie ("agnostic")."""


class AnomalyDino(BankDetector):
    """``vision_anomalydino``; its settings: ``anomaly_dino_settings``."""

    fit_settings: AnomalyDinoFit
    scoring_settings: AnomalyDinoScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """A memory bank: the unit tokens of the references in all their views; never masked."""
        references = select_references(images, self.fit_settings.references)
        return build_bank(self.stream, references, self.recipe)

    @property
    def recipe(self) -> BankRecipe:
        """The unit tokens in all views."""
        settings = self.fit_settings
        return BankRecipe(
            settings.coreset,
            settings.seed,
            reference_angles(settings.rotation),
            normalised=True,
            index=settings.index,
            augment=settings.augment,
        )

    @property
    def n_neighbors(self) -> int:
        """As the setting says."""
        return self.scoring_settings.n_neighbors

    @cached_property
    def _objects(self) -> ObjectFinder:
        return ObjectFinder(self.stream, along_tokens=self.scoring_settings.object_mask == "official")

    def _score(self, bank: Bank, embedded: EmbeddedImage, found: Neighbours) -> tuple[float, np.ndarray]:
        """Patch scores: mean cosine distance to the ``n_neighbors`` nearest bank rows.

        With ``object_mask`` patches off the object score 0, and count as 0 in the top share.
        """
        settings = self.scoring_settings
        patches = found.squared.mean(axis=1) / 2  # of unit vectors: 1 - cosine
        if settings.object_mask:
            on_object = self._objects.on_object(embedded, bank.precision)
            patches = np.where(on_object, patches, np.float32(0))
        return aggregate(patches, settings.aggregation, settings.topk), patches


def reference_angles(rotation: bool | tuple[float, ...]) -> tuple[float, ...]:
    """The views of a reference, in degrees: always the image itself, then those of the ``rotation`` setting.

    >>> reference_angles((90.0, 180.0))
    (0.0, 90.0, 180.0)
    """
    if isinstance(rotation, bool):
        return AGNOSTIC_ANGLES if rotation else (0.0,)
    return tuple(dict.fromkeys((0.0, *(float(angle) % 360 for angle in rotation))))
