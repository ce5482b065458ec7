"""The settings of the OpenCLIP detectors, each in the one stage that reads it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from uad_orchestrator.detectors.settings import (
    AugmentedFit,
    BankFit,
    CoresetSettings,
    ReferenceSettings,
    ScoringSettings,
    Settings,
)
from uad_orchestrator.embedders.open_clip_names import WINCLIP, is_open_clip
from uad_orchestrator.embedders.settings import EmbedderSettings

PLACE = "{}"
"""Where the class name stands in a state, and the state in a template."""

NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ANOMALOUS_STATES = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
TEMPLATES = (
    "a cropped photo of the {}.",
    "a cropped photo of a {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of the {}.",
    "a dark photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of the {}.",
    "a blurry photo of a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for anomaly detection.",
    "a photo of a {} for anomaly detection.",
)
"""WinCLIP's, as the paper prints them (Jeong et al., CVPR 2023, figure 6)."""


class PromptSettings(Settings):
    """The prompts: every template with every state, and the class name in it."""

    normal: tuple[str, ...] = Field(NORMAL_STATES, min_length=1, description="states of a normal object")
    anomalous: tuple[str, ...] = Field(ANOMALOUS_STATES, min_length=1, description="of a defective one")
    templates: tuple[str, ...] = Field(TEMPLATES, min_length=1, description="sentences a state is put into")

    @field_validator("normal", "anomalous", "templates")
    @classmethod
    def _one_place(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if text.count(PLACE) != 1:
                raise ValueError(f"{text!r} needs one {PLACE}, where the class name is put")
        return texts


class PatchKnnFit(BankFit, AugmentedFit):
    """Stage ``memory_bank`` of vision_openclip_patchknn."""

    coreset: CoresetSettings = CoresetSettings(method="none")
    references: ReferenceSettings | None = None
    seed: int = Field(0, ge=0)


class PatchKnnScoring(ScoringSettings):
    """Stage ``score_table`` of vision_openclip_patchknn."""

    n_neighbors: PositiveInt = Field(1, description="distances to this many bank rows are averaged")
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")


class PromptFit(Settings):
    """Stage ``memory_bank`` of vision_openclip_promptscore."""

    prompts: PromptSettings = PromptSettings()
    class_name: str | None = Field(None, min_length=1, description="what the images show")
    class_names: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        {}, description="the same for single categories, by their names"
    )

    def for_category(self, category: str) -> Self:
        """With the class name of that category; by default its own name, underscores as spaces."""
        named = self.class_names.get(category, self.class_name)
        return self.model_copy(update={"class_name": named or category.replace("_", " ")})


class PromptScoreScoring(ScoringSettings):
    """Stage ``score_table`` of vision_openclip_promptscore."""

    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")


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


def check_text_embedder(settings: EmbedderSettings) -> None:
    """Refuse an embedder whose patch embeddings can not be compared with prompts.

    Raises:
        ValueError: it has no text tower, or concatenates several layers.
    """
    if not is_open_clip(settings.name):
        raise ValueError(
            f"embedder.name: {settings.name} has no text tower to read prompts; take one such as {WINCLIP}"
        )
    if settings.layers is not None and len(settings.layers) > 1:
        raise ValueError(
            f"embedder.layers: prompts are compared with the tokens of one block, not of {len(settings.layers)}"
        )
