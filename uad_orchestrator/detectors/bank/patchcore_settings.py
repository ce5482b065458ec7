"""The settings of PatchCore, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from uad_orchestrator.detectors.protocol.settings import (
    AugmentedFit,
    CoresetFit,
    CoresetScoring,
)


class PatchCoreFit(CoresetFit, AugmentedFit):
    """Stage ``memory_bank`` of vision_patchcore."""


class PatchCoreScoring(CoresetScoring):
    """Stage ``score_table`` of vision_patchcore."""

    n_neighbors: PositiveInt = Field(1, description="distances to this many bank rows are averaged")
    distance: Literal["l2_squared", "l2"] = Field(
        "l2_squared", description="the official code scores squared"
    )
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
    reweight: bool = Field(False, description="the paper's re-weighting over the bank neighbours")
    reweight_neighbors: PositiveInt = 9

    @model_validator(mode="after")
    def _reweights_a_maximum(self) -> PatchCoreScoring:
        if self.reweight and self.aggregation != "max":
            raise ValueError(
                f"reweight weighs the largest patch score: it needs aggregation max, not {self.aggregation}"
            )
        return self
