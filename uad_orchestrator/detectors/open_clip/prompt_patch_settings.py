"""The settings of the prompt and patch detector, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from uad_orchestrator.detectors.open_clip.prompt_settings import PromptFit
from uad_orchestrator.detectors.protocol.settings import (
    ReferenceSettings,
    ScoringSettings,
)


class PromptPatchFit(PromptFit):
    """Stage ``memory_bank`` of vision_openclip_prompt_patch."""

    references: ReferenceSettings | None = None


class PromptPatchScoring(ScoringSettings):
    """Stage ``score_table`` of vision_openclip_prompt_patch."""

    temperature: PositiveFloat = Field(0.07, description="of the softmax over both groups of prompts")
    windows: tuple[Literal[2, 3, "image"], ...] = Field(
        (), description="windows of so many patches a side scored beside the single patches"
    )
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
