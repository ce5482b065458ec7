"""The settings of vision_musc: it learns nothing, so that all of them belong to scoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from uad_orchestrator.detectors.protocol.settings import ScoringSettings, Settings


class MuscFit(Settings):
    """Stage ``memory_bank`` of vision_musc: nothing is fitted."""


class MuscScoring(ScoringSettings):
    """Stage ``score_table`` of vision_musc."""

    lowest_share: float = Field(
        0.3, gt=0, le=1, description="share of the other images, those nearest to a patch, that is averaged"
    )
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")

    @model_validator(mode="after")
    def _has_no_threshold(self) -> MuscScoring:
        idle = sorted(self.model_fields_set & {"contamination", "calibration"})
        if idle:
            raise ValueError(
                f"{' and '.join(idle)} would do nothing: vision_musc is transductive and has no threshold"
            )
        return self
