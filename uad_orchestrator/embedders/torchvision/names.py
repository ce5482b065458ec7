"""The torchvision CNNs by name: default layers (stride 8 and 16) and the published ImageNet weights.

A table, so that settings are resolved and weights are found without importing torch; a test compares it with
torchvision.
"""

from __future__ import annotations

from typing import NamedTuple


class TorchvisionCnn(NamedTuple):
    """``weight_file``: the IMAGENET1K_V1 file; ``layers``: what a ResNet's layer2, layer3 are here."""

    weight_file: str
    layers: tuple[str, str]


_STAGES = ("layer2", "layer3")
_DENSE = ("features.denseblock2", "features.denseblock3")
_REGNET = ("trunk_output.block2", "trunk_output.block3")
_EFFICIENT = ("features.3", "features.5")
_CONVNEXT = ("features.3", "features.5")

TORCHVISION_CNNS: dict[str, TorchvisionCnn] = {
    "resnet18": TorchvisionCnn("resnet18-f37072fd.pth", _STAGES),
    "resnet34": TorchvisionCnn("resnet34-b627a593.pth", _STAGES),
    "resnet50": TorchvisionCnn("resnet50-0676ba61.pth", _STAGES),
    "resnet101": TorchvisionCnn("resnet101-63fe2227.pth", _STAGES),
    "resnet152": TorchvisionCnn("resnet152-394f9c45.pth", _STAGES),
    "resnext50_32x4d": TorchvisionCnn("resnext50_32x4d-7cdf4587.pth", _STAGES),
    "resnext101_32x8d": TorchvisionCnn("resnext101_32x8d-8ba56ff5.pth", _STAGES),
    "wide_resnet50_2": TorchvisionCnn("wide_resnet50_2-95faca4d.pth", _STAGES),
    "wide_resnet101_2": TorchvisionCnn("wide_resnet101_2-32ee1156.pth", _STAGES),
    "mobilenet_v2": TorchvisionCnn("mobilenet_v2-b0353104.pth", ("features.6", "features.13")),
    "mobilenet_v3_large": TorchvisionCnn("mobilenet_v3_large-8738ca79.pth", ("features.6", "features.12")),
    "mobilenet_v3_small": TorchvisionCnn("mobilenet_v3_small-047dcff4.pth", ("features.3", "features.8")),
    "densenet121": TorchvisionCnn("densenet121-a639ec97.pth", _DENSE),
    "densenet161": TorchvisionCnn("densenet161-8d451a50.pth", _DENSE),
    "densenet169": TorchvisionCnn("densenet169-b2777c0a.pth", _DENSE),
    "densenet201": TorchvisionCnn("densenet201-c1103571.pth", _DENSE),
    "efficientnet_b0": TorchvisionCnn("efficientnet_b0_rwightman-7f5810bc.pth", _EFFICIENT),
    "efficientnet_b1": TorchvisionCnn("efficientnet_b1_rwightman-bac287d4.pth", _EFFICIENT),
    "efficientnet_b4": TorchvisionCnn("efficientnet_b4_rwightman-23ab8bcd.pth", _EFFICIENT),
    "convnext_tiny": TorchvisionCnn("convnext_tiny-983f1562.pth", _CONVNEXT),
    "convnext_small": TorchvisionCnn("convnext_small-0c510722.pth", _CONVNEXT),
    "convnext_base": TorchvisionCnn("convnext_base-6075fbad.pth", _CONVNEXT),
    "regnet_y_400mf": TorchvisionCnn("regnet_y_400mf-c65dace8.pth", _REGNET),
    "regnet_y_1_6gf": TorchvisionCnn("regnet_y_1_6gf-b11a554e.pth", _REGNET),
    "regnet_x_400mf": TorchvisionCnn("regnet_x_400mf-adf1edd5.pth", _REGNET),
    "vgg16": TorchvisionCnn("vgg16-397923af.pth", ("features.22", "features.29")),
    "vgg16_bn": TorchvisionCnn("vgg16_bn-6c64b313.pth", ("features.32", "features.42")),
}
