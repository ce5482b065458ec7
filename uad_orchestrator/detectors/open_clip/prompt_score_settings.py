"""The settings of the prompt score, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from uad_orchestrator.detectors.protocol.settings import (
    ScoringSettings,
)


class PromptScoreScoring(ScoringSettings):
    """Stage ``score_table`` of vision_openclip_promptscore."""

    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
