"""The ``embedder:`` entry of the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator

Compute = Literal["float32", "tf32", "float16", "bfloat16"]
"""What a network computes in; ``tf32`` is float32 where there is no CUDA GPU."""


class EmbedderSettings(BaseModel):
    """Which embedder, with which weights, at which size.

    ``embedder: resnet18`` is short for ``embedder: {name: resnet18}``. What is not given takes the embedder's
    own default (``uad_orchestrator.embedders.create.resolve_settings`` fills it in).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        description="filter_bank, a torchvision CNN, a timm model with patch tokens, or an OpenCLIP ViT"
    )
    weights: str | None = Field(None, description="a local file (.pth, .safetensors) or hub:<id>")
    download: bool = Field(False, description="allow a hub: weight to be fetched when it is not cached")
    layers: tuple[str, ...] | None = Field(None, description="the layers whose features are concatenated")
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None,
        description="input size in pixels: the square's side (squash) or the shorter edge (shorter_edge)",
    )
    resize: str | None = Field(None, description="squash | shorter_edge")
    dimension: PositiveInt | None = Field(None, description="d of a patch embedding, where it is pooled")
    mean: tuple[float, float, float] | None = Field(None, description="per-channel mean the weights expect")
    std: tuple[float, float, float] | None = Field(None, description="per-channel std the weights expect")
    pos_embed: str | None = Field(None, description="timm | hub: how position embeddings are resampled")
    vv_blocks: NonNegativeInt | None = Field(
        None, description="OpenCLIP: this many of the last blocks by v-v attention; 0: none"
    )
    compute: Compute | None = Field(
        None,
        description="what a network computes in: float32; on a GPU faster with tf32, float16, bfloat16, which move "
        "scores a little: by how much is measured when a detector is fitted",
    )
    norm: str | None = Field(None, description="final | none: whether a ViT's tokens pass its last LayerNorm")

    @field_validator("weights")
    @classmethod
    def _not_blank(cls, weights: str | None) -> str | None:
        if weights is not None and not weights.strip():
            raise ValueError("weights is empty: give a file, hub:<id>, or leave the key out")
        return weights
