"""Position embeddings for another input size, as DINOv2's own repository resamples them.

timm resamples to the target size, antialiased. The original (``interpolate_pos_encoding`` in dinov2's
``vision_transformer.py``) interpolates bicubically by the scale factor ``(n + 0.1) / m``, not antialiased;
models with register tokens go to the target size, antialiased, as timm does.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

OFFSET = 0.1
"""dinov2's ``interpolate_offset``."""


def hub_positions(grid: Any, size: tuple[int, int]) -> Any:
    """Position embeddings of a grid of another size.

    Args:
        grid: ``(M, N, d)`` float tensor, the trained grid.
        size: ``(h, w)`` patches wanted.

    Returns:
        ``(h, w, d)``; the same tensor where the size is the trained one.
    """
    from torch.nn.functional import interpolate

    if tuple(grid.shape[:2]) == size:
        return grid
    scale = ((size[0] + OFFSET) / grid.shape[0], (size[1] + OFFSET) / grid.shape[1])
    resampled = interpolate(grid.permute(2, 0, 1)[None].float(), scale_factor=scale, mode="bicubic")
    return resampled[0].permute(1, 2, 0).to(grid.dtype)


def use_hub_positions(model: Any) -> None:
    """Let a timm ``VisionTransformer`` add its position embeddings as DINOv2's repository does.

    Raises:
        ValueError: a model without learned absolute position embeddings that include the class token's.
    """
    if getattr(model, "pos_embed", None) is None or model.cls_token is None:
        raise ValueError("embedder.pos_embed: hub is for DINOv2 and ViTs with learned position embeddings")
    if getattr(model, "reg_token", None) is not None:
        return
    if model.no_embed_class or model.num_prefix_tokens != 1:
        raise ValueError("embedder.pos_embed: hub is for ViTs whose only extra token is the class token")
    model._pos_embed = MethodType(_add_hub_positions, model)


def _add_hub_positions(model: Any, patches: Any) -> Any:
    """``(b, h, w, d)`` patch embeddings -> ``(b, 1 + h * w, d)`` tokens, the class token first."""
    import torch

    batch, height, width, dimension = patches.shape
    rows, columns = model.patch_embed.grid_size
    trained = model.pos_embed[0, 1:].reshape(rows, columns, dimension)
    positions = hub_positions(trained, (height, width)).reshape(1, height * width, dimension)
    class_token = (model.cls_token + model.pos_embed[:, :1]).expand(batch, -1, -1)
    return torch.cat([class_token, patches.reshape(batch, -1, dimension) + positions], dim=1)
