"""The settings of AnomalyDINO, each in the one stage that reads it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt

from uad_orchestrator.detectors.embedding.views import TURN_VERSION
from uad_orchestrator.detectors.protocol.settings import (
    AugmentedFit,
    BankFit,
    CoresetScoring,
    CoresetSettings,
    ReferenceSettings,
)


class AnomalyDinoFit(BankFit, AugmentedFit):
    """Stage ``memory_bank`` of vision_anomalydino."""

    coreset: CoresetSettings = CoresetSettings(method="none")
    references: ReferenceSettings | None = None
    rotation: bool | tuple[float, ...] = Field(
        False, description="true: references also rotated by 45..315 degrees; or the angles in degrees"
    )
    seed: int = Field(0, ge=0)

    def versions(self) -> dict[str, int]:
        """Since when references are turned about the point that the official code takes."""
        turned = (
            any(angle % 360 for angle in self.rotation) if isinstance(self.rotation, tuple) else self.rotation
        )
        return {"turn_version": TURN_VERSION} if turned else {}


class AnomalyDinoScoring(CoresetScoring):
    """Stage ``score_table`` of vision_anomalydino."""

    n_neighbors: PositiveInt = Field(1, description="distances to this many bank rows are averaged")
    aggregation: Literal["max", "mean", "topk_mean"] = "topk_mean"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
    object_mask: bool | Literal["official"] = Field(
        False,
        description="score only the patches on the object (first PCA component); official: grown along the "
        "flattened grid, as in the official code",
    )

    def on_tiles(self) -> dict[str, Any]:
        """Since when the object is found on the whole image."""
        return {"object_mask_version": 2} if self.object_mask else {}
