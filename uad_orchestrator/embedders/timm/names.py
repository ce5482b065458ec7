"""What a timm name says without importing timm: CNN or ViT, patch size, trained size, normalisation.

timm has over a thousand names. Those whose normalisation follows from the name are known here (a test
compares every one with timm's own configuration); any other timm model is written ``timm/<name>`` with
``mean`` and ``std`` given.
"""

from __future__ import annotations

import re

from uad_orchestrator.embedders.normalisation import CLIP, IMAGENET, INCEPTION, Normalisation

PREFIX = "timm/"

EXAMPLES = (
    "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224.dino",
    "deit_tiny_patch16_224",
    "mobilenetv2_100",
    "tf_efficientnet_b4.ns_jft_in1k",
    "hrnet_w18",
    "res2net50_26w_4s",
)
"""Names that messages propose."""

_VIT_NORMALISATION: tuple[tuple[str, Normalisation], ...] = (
    (r"vit_(small|base|large|giant)_patch14_(reg4_)?dinov2(\.lvd142m)?", IMAGENET),
    (r"vit_(small|small_plus|base|large|huge_plus|7b)_patch16_dinov3(_qkvb)?\.lvd1689m", IMAGENET),
    (r"vit_(small|base)_patch(8|16)_224\.dino", IMAGENET),
    (r"deit3?_(tiny|small|medium|base|large|huge)_(distilled_)?patch1[46]_\d+(\..*)?", IMAGENET),
    (r"vit_\w+_patch\d+_clip_\d+\.(openai|datacompxl|metaclip_400m)", CLIP),
    (r"vit_(tiny|small|base|large)_patch(8|16|32)_\d+(\.(augreg|orig).*)?", INCEPTION),
)
_CNN_NORMALISATION: tuple[tuple[str, Normalisation], ...] = (
    (r"(mobilenetv2_\w+|hrnet_w\w+|res2net\w+|dla\d+\w*|repvgg_\w+|regnet[xy]_\d+)(\.\w+)?", IMAGENET),
    (r"(tf_)?efficientnet_b\d(\.((ra|aa|ns)_\w+|in1k))?", IMAGENET),
    (r"(wide_)?resne[x]?t\d+\w*\.(tv|tv2|a1|a1h|a2|a3|gluon|fb|ra)_\w+", IMAGENET),
    (r"(densenet\d+|vgg\d+(_bn)?)\.tv_in1k", IMAGENET),
)


def model_name(name: str) -> str:
    """The name as timm knows it."""
    return name.removeprefix(PREFIX)


def is_vit(name: str) -> bool:
    """Whether the name is a transformer's with square patches."""
    return patch_size(name) is not None


def is_known_timm(name: str) -> bool:
    """Whether a name belongs to timm: written with its prefix, or one of the patterns above."""
    return name.startswith(PREFIX) or timm_normalisation(name) is not None


def patch_size(name: str) -> int | None:
    """Side of a patch in pixels, from ``..._patch14_...``; None for CNNs.

    Example:
        >>> patch_size("vit_small_patch14_dinov2.lvd142m"), patch_size("mobilenetv2_100")
        (14, None)
    """
    found = re.search(r"_patch(\d+)(_|\.|$)", model_name(name))
    return int(found.group(1)) if found else None


def trained_size(name: str) -> int | None:
    """The input side that stands in a name: ``vit_tiny_patch16_224`` -> 224."""
    found = re.search(r"_(\d{3})$", model_name(name).split(".")[0])
    return int(found.group(1)) if found else None


def timm_normalisation(name: str) -> Normalisation | None:
    """Mean and std of a name's weights, where the name says so."""
    table = _VIT_NORMALISATION if is_vit(name) else _CNN_NORMALISATION
    matches = (norm for pattern, norm in table if re.fullmatch(pattern, model_name(name)))
    return next(matches, None)


def default_tag(name: str) -> str | None:
    """The Hugging Face id of a name that has a tag (``timm/<name>.<tag>``), else None."""
    known_tags = {"vit_small_patch14_dinov2": "lvd142m", "vit_base_patch14_dinov2": "lvd142m"}
    model = model_name(name)
    if "." not in model and model in known_tags:
        model = f"{model}.{known_tags[model]}"
    return f"timm/{model}" if "." in model else None
