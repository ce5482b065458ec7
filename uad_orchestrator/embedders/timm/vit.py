"""timm vision transformers with patch tokens: DINOv2 as AnomalyDINO uses it (WACV 2025), and any other ViT.

The shorter edge is resized (bicubic, antialiased), the image is cut at the right and bottom to a multiple of
the patch size, and the patch tokens of the chosen blocks after the final norm (``norm: none``: as the blocks
leave them) are the embeddings; class and register tokens are dropped. The official code rounds the resized
image to 8 bit; here it stays float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from uad_orchestrator.embedders.family import TORCH_MODULES, EmbedderSpec
from uad_orchestrator.embedders.input_plan import check_sizes
from uad_orchestrator.embedders.position_embedding import use_hub_positions
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.timm.cnn import timm_model, with_normalisation
from uad_orchestrator.embedders.timm.names import default_tag, patch_size, trained_size
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder, computed_in
from uad_orchestrator.embedders.weight_files import HUGGING_FACE_FILES
from uad_orchestrator.embedders.weights import load_weights, random_seed, read_state_dict

VERSION = 1
ANOMALY_DINO_SIZE = 448


def resolve(settings: EmbedderSettings) -> EmbedderSettings:
    """Defaults: shorter edge 448 (or the size in the model's name), last block, timm's position embeddings.

    Raises:
        ValueError: an unknown ``pos_embed`` or ``norm``, a layer that is no block number, or a size that does not
            fit the patches.
    """
    name = settings.name
    if settings.pos_embed not in (None, "timm", "hub"):
        raise ValueError(f"embedder.pos_embed: {settings.pos_embed!r} is unknown; valid are timm, hub")
    if settings.norm not in (None, "final", "none"):
        raise ValueError(f"embedder.norm: {settings.norm!r} is unknown; valid are final, none")
    layers = settings.layers if settings.layers is not None else ("-1",)
    block_numbers(layers)
    random_seed(settings)
    resolved = with_normalisation(
        settings.model_copy(
            update={
                "layers": layers,
                "image_size": settings.image_size or trained_size(name) or ANOMALY_DINO_SIZE,
                "resize": settings.resize or "shorter_edge",
                "pos_embed": settings.pos_embed or "timm",
                "norm": settings.norm or "final",
            }
        )
    )
    check_sizes(resolved, patch_size(name) or 1)
    return resolved


def block_numbers(layers: tuple[str, ...]) -> list[int]:
    """Layers as block numbers; negative ones count from the end.

    Raises:
        ValueError: none, one twice, or no number.
    """
    try:
        numbers = [int(layer) for layer in layers]
    except ValueError:
        numbers = []
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(
            f"embedder.layers: expected different block numbers such as ['-1'], got {list(layers)}"
        )
    return numbers


def recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """The recipe of resolved settings."""
    facts = settings.model_dump(
        mode="json", include={"name", "layers", "image_size", "resize", "mean", "std", "pos_embed", "norm"}
    )
    seed = random_seed(settings)
    random = {} if seed is None else {"random_seed": seed}
    # float16 changed scores by less than 1e-4 relative; by 1e-2 without the norm, where a few values are large
    precision = "float16" if settings.norm == "final" else "float32"
    compute = computed_in(settings)
    return {"embedder": "timm_vit", "version": VERSION, "precision": precision, **facts, **random, **compute}


def default_hub(settings: EmbedderSettings) -> str | None:
    """timm's repository of that name and tag on the Hugging Face hub."""
    return default_tag(settings.name)


def create(settings: EmbedderSettings, weights: Path | None, device: str) -> TorchEmbedder:
    """The embedder for resolved settings."""
    return TorchEmbedder(
        settings,
        recipe(settings),
        partial(load_network, settings, weights),
        device=device,
        multiple=patch_size(settings.name) or 1,
        interpolation="bicubic",
    )


SPEC = EmbedderSpec(
    implementation="uad_orchestrator.embedders.timm.vit:create",
    version=VERSION,
    reads=(
        "weights",
        "download",
        "layers",
        "image_size",
        "resize",
        "mean",
        "std",
        "pos_embed",
        "norm",
        "compute",
    ),
    resolve=resolve,
    recipe=recipe,
    default_hub=default_hub,
    hub_files=HUGGING_FACE_FILES,
    needs=TORCH_MODULES,
)


@dataclass(frozen=True)
class VitNetwork:
    """``(b, 3, h, w)`` -> ``(b, h / patch, w / patch, d)``; several blocks are concatenated along d."""

    model: Any
    blocks: list[int]
    norm: bool

    def __call__(self, batch: Any) -> Any:
        import torch

        tokens = self.model.forward_intermediates(
            batch, indices=self.blocks, norm=self.norm, output_fmt="NCHW", intermediates_only=True
        )
        return torch.cat(list(tokens), dim=1).permute(0, 2, 3, 1)


def load_network(settings: EmbedderSettings, weights: Path | None, device: Any) -> VitNetwork:
    """Build the transformer and fill it.

    Raises:
        ValueError: timm has no such model, the model takes no other input size than its own, it has no such
            block, or position embeddings that ``pos_embed: hub`` does not apply to.
        WeightsError: weights that do not fit.
    """
    try:
        model = timm_model(settings, num_classes=0, dynamic_img_size=True)
    except TypeError as error:
        raise ValueError(
            f"embedder.name: {settings.name} takes no other input size than its own ({error}); choose a "
            "plain vit_, deit_ or dinov2 / dinov3 model"
        ) from error
    blocks = [
        block_number(number, len(model.blocks), settings.name)
        for number in block_numbers(settings.layers or ())
    ]
    if weights is not None:
        state = with_timm_names(read_state_dict(weights, device), model)
        load_weights(model, state, weights, settings.name)
    model = model.requires_grad_(False).to(device)
    if settings.pos_embed == "hub":
        use_hub_positions(model)
    return VitNetwork(model, blocks, settings.norm == "final")


def with_timm_names(tensors: dict[str, Any], model: Any) -> Mapping[str, Any]:
    """Weights of Facebook's DINOv2 repository as timm names them; those of any other file as they are.

    Without registers both have the same names. With registers (``dinov2_vits14_reg4_pretrain.pth``) the repository
    says ``register_tokens`` and keeps the class token's position embedding, which timm adds to the token; its ViT-g
    says ``w12`` and ``w3`` for ``fc1`` and ``fc2``.
    """
    if "register_tokens" not in tensors and not any(".mlp.w12." in name for name in tensors):
        return tensors
    from timm.models.vision_transformer import checkpoint_filter_fn

    # timm knows files of that repository by their mask token, which some who hand them on have taken out
    given: dict[str, Any] = {"mask_token": None, **tensors}
    return checkpoint_filter_fn(given, model)


def block_number(number: int, count: int, name: str) -> int:
    """``number`` counted from the front; ValueError if the model ``name`` has no such block."""
    if not -count <= number < count:
        raise ValueError(f"embedder.layers: {name} has blocks 0..{count - 1} (or -{count}..-1), not {number}")
    return number % count
