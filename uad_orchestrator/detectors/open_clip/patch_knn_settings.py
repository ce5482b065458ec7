"""The settings of nearest neighbours on CLIP tokens, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from uad_orchestrator.detectors.protocol.settings import (
    AugmentedFit,
    BankFit,
    CoresetScoring,
    CoresetSettings,
    ReferenceSettings,
)


class PatchKnnFit(BankFit, AugmentedFit):
    """Stage ``memory_bank`` of vision_openclip_patchknn."""

    coreset: CoresetSettings = CoresetSettings(method="none")
    references: ReferenceSettings | None = None
    seed: int = Field(0, ge=0)


class PatchKnnScoring(CoresetScoring):
    """Stage ``score_table`` of vision_openclip_patchknn."""

    n_neighbors: PositiveInt = Field(1, description="distances to this many bank rows are averaged")
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
