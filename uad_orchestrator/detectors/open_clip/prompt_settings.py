"""The prompts, and the settings of all detectors that compare patches with text."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator

from uad_orchestrator.detectors.protocol.settings import (
    Settings,
)
from uad_orchestrator.embedders.open_clip.names import WINCLIP, is_open_clip
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


def check_text_embedder(settings: EmbedderSettings) -> None:
    """Refuse an embedder whose patch embeddings cannot be compared with prompts.

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
