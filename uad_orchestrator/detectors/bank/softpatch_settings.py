"""The settings of vision_softpatch, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from uad_orchestrator.detectors.protocol.settings import AugmentedFit, CoresetFit, CoresetScoring


class SoftPatchFit(CoresetFit, AugmentedFit):
    """Stage ``memory_bank`` of vision_softpatch."""

    discriminator: Literal["lof", "nearest", "gaussian", "unaligned_lof"] = Field(
        "lof", description="how patches are weighed; unaligned_lof is this project's own"
    )
    # What the official command line asks for; its published runs take 5, because the option never reaches their LOF.
    lof_k: PositiveInt = Field(6, description="neighbours of lof and unaligned_lof; more images are needed")
    threshold: float = Field(
        0.15, ge=0, lt=1, description="share of the patches, the largest weights, kept out of the bank"
    )

    @model_validator(mode="after")
    def _keeps_aligned_parts_aligned(self) -> SoftPatchFit:
        if self.augment is not None and self.augment.rotation and self.discriminator != "unaligned_lof":
            raise ValueError(
                f"augment.rotation moves the parts, and discriminator {self.discriminator} compares each patch with "
                "those at its own place in the other images: leave rotation out, or take discriminator unaligned_lof"
            )
        return self


class SoftPatchScoring(CoresetScoring):
    """Stage ``score_table`` of vision_softpatch."""

    n_neighbors: PositiveInt = Field(1, description="weighted distances to this many bank rows are averaged")
    soft_weights: bool = Field(True, description="distances count as much as the matched bank row's weight")
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
