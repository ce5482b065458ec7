"""CNN patch embeddings as PatchCore makes them: ``(gh * gw, dimension)`` on the first layer's grid.

Each layer's features take their 3 x 3 neighbourhood, the deeper layers are resized bilinearly
(align_corners=False) to the first layer's grid, and everything is pooled to ``dimension``
(``patch_pooling``; the convolution and the resize act on different axes and commute).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.embedders.patch_pooling import fold_patch_pooling


@dataclass(frozen=True)
class CnnNetwork:
    """``(b, 3, h, w)`` -> ``(b, gh, gw, dimension)``.

    Attributes:
        extractor: gives a mapping of layer name to ``(b, C, h', w')`` features; holds only modules in use.
        layers: the layers in order; the first one's grid is the patch grid.
        kernels: per layer: first row, ``conv2d`` weight on the extractor's device, groups.
        dimension: d of a patch embedding.
        channels_last: how values lie in memory: faster so, with other last digits, so that it comes with another
            ``compute`` than float32, which is another version.
    """

    extractor: Any
    layers: tuple[str, ...]
    kernels: tuple[tuple[int, Any, int], ...]
    dimension: int
    channels_last: bool = False

    def __call__(self, batch: Any) -> Any:
        import torch

        if self.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        features: Mapping[str, Any] = self.extractor(batch)
        pooled = pool_patches([features[layer] for layer in self.layers], self.kernels, self.dimension)
        return pooled.permute(0, 2, 3, 1)


def pool_patches(features: Sequence[Any], kernels: Sequence[tuple[int, Any, int]], dimension: int) -> Any:
    """Features ``(b, C, h', w')`` per layer -> ``(b, dimension, gh, gw)`` on the first layer's grid."""
    import torch
    from torch.nn import functional

    first_layer = features[0]
    grid, last = first_layer.shape[-2:], torch.channels_last
    order = last if first_layer.is_contiguous(memory_format=last) else torch.contiguous_format
    shape = (first_layer.shape[0], dimension, *grid)
    pooled = torch.empty(
        shape, dtype=first_layer.dtype, device=first_layer.device, memory_format=order
    ).zero_()
    for feature, (first, weight, groups) in zip(features, kernels, strict=True):
        part = functional.conv2d(feature, weight, padding=1, groups=groups)
        if part.shape[-2:] != grid:
            part = functional.interpolate(part, size=grid, mode="bilinear", align_corners=False)
        pooled[:, first : first + weight.shape[0]] += part
    return pooled


def cnn_network(
    extractor: Any, layers: tuple[str, ...], dimension: int, device: Any, *, channels_last: bool = False
) -> CnnNetwork:
    """The network over an extractor; channel counts are read from one small forward pass.

    Raises:
        ValueError: a layer that gives no feature map.
    """
    import torch

    extractor = extractor.eval().requires_grad_(False).to(device)
    with torch.inference_mode():
        probe = extractor(torch.zeros(1, 3, 64, 64, device=device))
    for layer in layers:
        if probe[layer].ndim != 4:
            raise ValueError(
                f"embedder.layers: {layer!r} gives {tuple(probe[layer].shape)}, not a feature map"
            )
    if channels_last:
        extractor = extractor.to(memory_format=torch.channels_last)
    elif torch.device(device).type == "cpu":
        _max_pooling_over_channels(extractor)
    folded = fold_patch_pooling([probe[layer].shape[1] for layer in layers], dimension)
    kernels = tuple((k.first, torch.from_numpy(k.weight).to(device), k.groups) for k in folded)
    return CnnNetwork(extractor, layers, kernels, dimension, channels_last)


def _max_pooling_over_channels(extractor: Any) -> None:
    """Max pooling with its input's channels last: the same values, in a fifth of torch's time on a CPU."""
    import torch
    from torch import nn

    def channels_last(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0].contiguous(memory_format=torch.channels_last), *inputs[1:])

    def channels_first(module: Any, inputs: tuple[Any, ...], pooled: Any) -> Any:
        return pooled.contiguous()

    for module in extractor.modules():
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_pre_hook(channels_last)
            module.register_forward_hook(channels_first)
