"""OpenCLIP vision transformers: patch tokens in the space that images and texts share, e.g. ``open_clip/ViT-B-16``.

The whole image is resized (bicubic, antialiased; open_clip's own transform would crop its centre), position
embeddings are resampled to the input, and the patch tokens of the chosen blocks pass the final norm and the
projection, as the class token does; the class token is dropped.

CLIP's last tokens match texts poorly where they lie. ``vv_blocks: n`` takes the last n blocks by v-v attention, as
CLIP Surgery (Li et al., 2023, n = 6) and after it AnomalyCLIP (Zhou et al., ICLR 2024) do: beside the usual path
runs a second one that only adds up the attention of values to values, without the feed-forward layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.embedders.family import EmbedderSpec
from uad_orchestrator.embedders.input_plan import check_sizes
from uad_orchestrator.embedders.normalisation import CLIP
from uad_orchestrator.embedders.open_clip.model import image_tower
from uad_orchestrator.embedders.open_clip.names import DEFAULT_HUBS, model_name, patch_and_size
from uad_orchestrator.embedders.open_clip.text import OpenClipText
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.timm.vit import block_number, block_numbers
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder, computed_in
from uad_orchestrator.embedders.weight_files import OPEN_CLIP_FILES
from uad_orchestrator.embedders.weights import random_seed

VERSION = 1


def resolve(settings: EmbedderSettings) -> EmbedderSettings:
    """Defaults: squash to the trained size, last block, no v-v attention, CLIP's mean and standard deviation.

    Raises:
        ValueError: a layer that is no block number, or a size that does not fit the patches.
    """
    layers = settings.layers if settings.layers is not None else ("-1",)
    block_numbers(layers)
    random_seed(settings)
    patch, trained = patch_and_size(settings.name)
    resolved = settings.model_copy(
        update={
            "layers": layers,
            "image_size": settings.image_size or trained,
            "resize": settings.resize or "squash",
            "mean": settings.mean or CLIP.mean,
            "std": settings.std or CLIP.std,
            "vv_blocks": settings.vv_blocks or 0,
        }
    )
    check_sizes(resolved, patch)
    return resolved


def recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """The recipe of resolved settings."""
    facts = settings.model_dump(
        mode="json", include={"name", "layers", "image_size", "resize", "mean", "std", "vv_blocks"}
    )
    seed = random_seed(settings)
    random = {} if seed is None else {"random_seed": seed}
    # float32: a prompt score is a small difference of similarities, of which float16's rounding may be any share
    declared = {"embedder": "open_clip_vit", "version": VERSION, "precision": "float32"}
    return {**declared, **facts, **random, **computed_in(settings)}


def default_hub(settings: EmbedderSettings) -> str | None:
    """The repository on the Hugging Face hub that ``DEFAULT_HUBS`` names."""
    return DEFAULT_HUBS.get(model_name(settings.name))


def create(settings: EmbedderSettings, weights: Path | None, device: str) -> OpenClipEmbedder:
    """The embedder for resolved settings."""
    return OpenClipEmbedder(settings, weights, device)


SPEC = EmbedderSpec(
    implementation="uad_orchestrator.embedders.open_clip.vit:create",
    version=VERSION,
    reads=("weights", "download", "layers", "image_size", "resize", "mean", "std", "vv_blocks", "compute"),
    resolve=resolve,
    recipe=recipe,
    default_hub=default_hub,
    hub_files=OPEN_CLIP_FILES,
    needs=("torch", "open_clip"),
    extra="clip",
)


class OpenClipEmbedder(TorchEmbedder):
    """Patch embeddings of images, and embeddings of texts in the same space."""

    def __init__(self, settings: EmbedderSettings, weights: Path | None, device: str) -> None:
        super().__init__(
            settings,
            recipe(settings),
            partial(load_network, settings, weights),
            device=device,
            multiple=patch_and_size(settings.name)[0],
            interpolation="bicubic",
        )
        self.text = OpenClipText(settings, weights, device)

    def text_recipe(self) -> dict[str, Any]:
        """Everything but the weights that decides the embeddings of texts."""
        return self.text.recipe()

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """``(n, d)`` float32, not normalised."""
        return self.text.embed(texts)


@dataclass(frozen=True)
class OpenClipNetwork:
    """``(b, 3, h, w)`` -> ``(b, h / patch, w / patch, layers * d)``, in the joint space.

    Attributes:
        visual: open_clip's ``VisionTransformer``.
        blocks: whose tokens are taken, concatenated along d.
        vv_blocks: how many of the last blocks take the v-v path.
    """

    visual: Any
    blocks: list[int]
    vv_blocks: int

    def __call__(self, batch: Any) -> Any:
        import torch

        tokens, grid = self._embedded(batch)
        taken = self._tokens_by_block(tokens)
        joint = [self.visual.ln_post(taken[number][:, 1:]) @ self.visual.proj for number in self.blocks]
        return torch.cat(joint, dim=-1).unflatten(1, grid)

    def _embedded(self, batch: Any) -> tuple[Any, tuple[int, int]]:
        """``(b, 1 + gh * gw, width)`` tokens before the first block, the class token first; ``(gh, gw)``."""
        import torch
        from timm.layers import resample_abs_pos_embed_nhwc

        patches = self.visual.conv1(batch).permute(0, 2, 3, 1)
        grid = (patches.shape[1], patches.shape[2])
        positions = self.visual.positional_embedding
        trained = positions[1:].unflatten(0, self.visual.grid_size)[None]
        patches = (patches + resample_abs_pos_embed_nhwc(trained, grid)).flatten(1, 2)
        class_token = (self.visual.class_embedding + positions[:1]).expand(len(batch), 1, -1)
        return self.visual.ln_pre(torch.cat([class_token, patches], dim=1)), grid

    def _tokens_by_block(self, tokens: Any) -> dict[int, Any]:
        """Tokens after the blocks that are asked for: those of the v-v path where a block takes it."""
        taken, vv_path = {}, None
        resblocks = self.visual.transformer.resblocks
        first = len(resblocks) - self.vv_blocks
        for number, block in enumerate(resblocks[: max(self.blocks) + 1]):
            if number >= first:
                before = tokens if vv_path is None else vv_path
                vv_path = before + block.ls_1(vv_attention(block.attn, block.ln_1(tokens)))
            tokens = block(tokens)
            if number in self.blocks:
                taken[number] = tokens if vv_path is None else vv_path
        return taken


def vv_attention(attention: Any, tokens: Any) -> Any:
    """Attention in which the values are queries and keys, too.

    Args:
        attention: ``torch.nn.MultiheadAttention``.
        tokens: ``(b, n, d)``, normalised.

    Returns:
        ``(b, n, d)``, after the output projection.
    """
    from torch.nn import functional

    width = tokens.shape[-1]
    values = functional.linear(
        tokens, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    )
    heads = values.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    mixed = functional.scaled_dot_product_attention(heads, heads, heads)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def load_network(settings: EmbedderSettings, weights: Path | None, device: Any) -> OpenClipNetwork:
    """Build the image tower and fill it.

    Raises:
        ValueError: open_clip has no such model, or the model no such block, or not so many.
        WeightsError: weights that do not fit.
    """
    visual = image_tower(settings, weights, device)
    count = len(visual.transformer.resblocks)
    blocks = [block_number(number, count, settings.name) for number in block_numbers(settings.layers or ())]
    vv_blocks = settings.vv_blocks or 0
    if vv_blocks > count:
        raise ValueError(f"embedder.vv_blocks: {settings.name} has {count} blocks, not {vv_blocks}")
    return OpenClipNetwork(visual, blocks, vv_blocks)
