"""From the prepared image to patch embeddings: the embedder's resize, its normalisation and its network."""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any, NamedTuple

from uad_orchestrator.embedders.cnn import CnnNetwork
from uad_orchestrator.embedders.open_clip.vit import OpenClipNetwork
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.timm.vit import VitNetwork
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder
from uad_orchestrator.export.category_maps import ExportError
from uad_orchestrator.export.onnx.interpolation import antialiased, hub_positions, stretched


class NetworkInput(NamedTuple):
    """What goes into the network.

    Attributes:
        batch: ``(1, 3, h, w)`` float32, normalised.
        size: ``(h, w)`` of it.
        kept: which share of the image's height and width it shows; the rest, less than a patch, is cut off.
    """

    batch: Any
    size: tuple[Any, Any]
    kept: tuple[Any, Any]


def network_input(unit: Any, embedder: TorchEmbedder) -> NetworkInput:
    """``embedders.input_plan`` and ``TorchEmbedder`` on a prepared image.

    Args:
        unit: ``(3, H, W)`` float32 in [0, 1].
        embedder: whose sizes, interpolation, mean and standard deviation are taken.
    """
    import torch

    settings = embedder.settings
    height, width = (torch.as_tensor(side) for side in unit.shape[1:])
    resized = _resized_size(height, width, settings)
    size = tuple(torch.as_tensor(side) - torch.as_tensor(side) % embedder.multiple for side in resized)
    fixed = not any(torch.is_tensor(side) for side in resized)
    taken = tuple(int(side) for side in size) if fixed else size
    rows, columns = (
        antialiased(count, wanted, embedder.interpolation)
        for count, wanted in zip((height, width), resized, strict=True)
    )
    pixels = stretched(unit, rows, columns).clamp(0, 1)[:, : taken[0], : taken[1]]
    mean, std = (torch.tensor(values)[:, None, None] for values in (settings.mean, settings.std))
    kept = tuple(
        torch.as_tensor(a).float() / torch.as_tensor(b).float() for a, b in zip(size, resized, strict=True)
    )
    return NetworkInput(((pixels - mean) / std)[None], (size[0], size[1]), (kept[0], kept[1]))


def _resized_size(height: Any, width: Any, settings: EmbedderSettings) -> tuple[Any, Any]:
    """Numbers where every image is squashed to them, tensors where they follow from the image."""
    import torch

    side = settings.image_size
    assert side is not None  # resolved
    if settings.resize == "squash":
        return (side, side) if isinstance(side, int) else side
    assert isinstance(side, int)
    shorter = torch.minimum(height, width)
    return tuple(torch.div(side * edge, shorter, rounding_mode="floor") for edge in (height, width))  # type: ignore[return-value]


def exported_network(embedder: TorchEmbedder) -> Any:
    """The embedder's network on the CPU, ``(1, 3, h, w)`` to ``(gh, gw, d)``, in operations that ONNX has.

    Args:
        embedder: its network is built once more, and changed where it resamples position embeddings.

    Raises:
        ExportError: a network whose position embeddings are made in another way, for inputs of any size.
    """
    import torch

    network = embedder.new_network(torch.device("cpu"))
    if isinstance(network, CnnNetwork):
        return _Cnn(network)
    if isinstance(network, OpenClipNetwork):
        return _OpenClip(network.visual, network.blocks, network.vv_blocks)
    assert isinstance(network, VitNetwork)  # ``refusals`` lets no other one through
    return _vit(network, embedder.settings)


@dataclass(frozen=True)
class _Cnn:
    network: CnnNetwork

    def __call__(self, batch: Any) -> Any:
        """As ``embedders.cnn.pool_patches``, the layers' parts put side by side instead of written in place."""
        from torch.nn import functional

        network = self.network
        features = network.extractor(batch)
        grid = features[network.layers[0]].shape[-2:]
        total: Any = 0
        for layer, (first, weight, groups) in zip(network.layers, network.kernels, strict=True):
            part = functional.conv2d(features[layer], weight, padding=1, groups=groups)
            if layer != network.layers[0]:
                part = functional.interpolate(part, size=grid, mode="bilinear", align_corners=False)
            behind = network.dimension - first - len(weight)
            total = total + functional.pad(part, (0, 0, 0, 0, first, behind))
        return total[0].permute(1, 2, 0)


class _OpenClip(OpenClipNetwork):
    def __call__(self, batch: Any) -> Any:
        import torch

        tokens, grid = self._embedded(batch)
        taken = self._tokens_by_block(tokens)
        joint = [self.visual.ln_post(taken[number][0, 1:]) @ self.visual.proj for number in self.blocks]
        return torch.cat(joint, dim=-1).reshape(*grid, -1)

    def _embedded(self, batch: Any) -> tuple[Any, tuple[int, int]]:
        import torch

        patches = self.visual.conv1(batch)[0]
        positions = self.visual.positional_embedding
        trained = positions[1:].reshape(*self.visual.grid_size, -1).permute(2, 0, 1)
        patches = patches + _resampled(trained, patches.shape[1:], hub=False)
        class_token = self.visual.class_embedding + positions[:1]
        tokens = torch.cat([class_token, patches.flatten(1).T])[None]
        return self.visual.ln_pre(tokens), (patches.shape[1], patches.shape[2])


def _vit(network: VitNetwork, settings: EmbedderSettings) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    model = network.model
    learned = isinstance(model, VisionTransformer)
    if learned and model.pos_embed is not None:
        # registers are resampled as timm does, by DINOv2's repository, too
        hub = settings.pos_embed == "hub" and model.reg_token is None
        model._pos_embed = MethodType(_with_hub_positions if hub else _with_timm_positions, model)
    elif not learned and settings.resize != "squash":
        raise ExportError(
            f"embedder {settings.name} cannot be exported: its position embeddings are worked out for each input "
            "size in a way that is not known here; take resize: squash, which gives every image one size"
        )
    return lambda batch: network(batch)[0]


def _with_timm_positions(model: Any, patches: Any) -> Any:
    return _with_positions(model, patches, hub=False)


def _with_hub_positions(model: Any, patches: Any) -> Any:
    return _with_positions(model, patches, hub=True)


def _with_positions(model: Any, patches: Any, *, hub: bool) -> Any:
    """timm's ``VisionTransformer._pos_embed`` for any size: ``(1, h, w, d)`` to ``(1, prefix + h * w, d)``."""
    import torch

    tokens = [token for token in (model.cls_token, model.reg_token) if token is not None]
    prefix = 0 if model.no_embed_class else model.num_prefix_tokens
    trained = model.pos_embed[0, prefix:].reshape(*model.patch_embed.grid_size, -1).permute(2, 0, 1)
    positions = _resampled(trained, patches.shape[1:3], hub=hub).flatten(1).T[None]
    patches = patches.flatten(1, 2)
    if model.no_embed_class:
        return torch.cat([*tokens, patches + positions], dim=1)
    return torch.cat([*tokens, patches], dim=1) + torch.cat([model.pos_embed[:, :prefix], positions], dim=1)


def _resampled(trained: Any, size: Any, *, hub: bool) -> Any:
    """``(d, M, N)`` trained position embeddings for a grid of another size: ``(d, h, w)``."""
    import torch

    counts = tuple(trained.shape[1:])
    if not hub:
        return stretched(
            trained,
            *(antialiased(count, wanted, "bicubic") for count, wanted in zip(counts, size, strict=True)),
        )
    unchanged = torch.stack(
        [torch.as_tensor(wanted) == count for count, wanted in zip(counts, size, strict=True)]
    ).all()
    return stretched(
        trained,
        *(hub_positions(count, wanted, unchanged) for count, wanted in zip(counts, size, strict=True)),
    )
