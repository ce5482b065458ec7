"""The settings of vision_softpatch, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from uad_orchestrator.detectors.settings import CoresetFit, ScoringSettings


class SoftPatchFit(CoresetFit):
    """Stage ``memory_bank`` of vision_softpatch."""

    discriminator: Literal["lof", "nearest", "gaussian", "unaligned_lof"] = Field(
        "lof", description="how patches are weighed; unaligned_lof is this project's own"
    )
    lof_k: PositiveInt = Field(6, description="neighbours of lof and unaligned_lof; more images are needed")
    threshold: float = Field(
        0.15, ge=0, lt=1, description="share of the patches, the largest weights, kept out of the bank"
    )


class SoftPatchScoring(ScoringSettings):
    """Stage ``score_table`` of vision_softpatch."""

    n_neighbors: PositiveInt = Field(1, description="weighted distances to this many bank rows are averaged")
    soft_weights: bool = Field(True, description="distances count as much as the matched bank row's weight")
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
