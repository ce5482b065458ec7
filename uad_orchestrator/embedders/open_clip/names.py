"""What the name of an OpenCLIP model says without importing open_clip: patch size, trained size, weights.

A name is ``open_clip/`` and a model of open_clip whose image tower is a plain vision transformer and whose text
tower reads the vocabulary that open_clip ships: ``open_clip/ViT-B-16``. SigLIP, CLIPA and the multilingual models
need tokenizers from the hub, the others have no patch tokens in the joint space; they are not among them. A test
compares every name with open_clip's own configurations.

OpenAI's weights, and others trained with its activation, need the ``-quickgelu`` name.
"""

from __future__ import annotations

import re

PREFIX = "open_clip/"
TRAINED_SIZE = 224
"""The input side of models whose name has none."""

DEFAULT_HUBS = {
    "ViT-B-32": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "ViT-B-16": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "ViT-B-16-quickgelu": "timm/vit_base_patch16_clip_224.openai",
    "ViT-B-16-plus-240": "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
    "ViT-L-14": "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
    "ViT-L-14-336-quickgelu": "timm/vit_large_patch14_clip_336.openai",
}
"""The weights taken when none are named: the papers' (WinCLIP: laion400m_e31, AnomalyCLIP: openai at 336 px), else
LAION's. All are MIT-licensed and expect CLIP's mean and standard deviation."""

WINCLIP = f"{PREFIX}ViT-B-16-plus-240"
"""WinCLIP's backbone."""

_NAME = re.compile(r"ViT-[A-Za-z]+-(?P<patch>\d+)(-(plus|alt|quickgelu))*(-(?P<size>\d{3}))?(-quickgelu)?")


def is_open_clip(name: str) -> bool:
    """Whether a name is one of these."""
    return name.startswith(PREFIX) and _NAME.fullmatch(model_name(name)) is not None


def model_name(name: str) -> str:
    """The name as open_clip knows it."""
    return name.removeprefix(PREFIX)


def patch_and_size(name: str) -> tuple[int, int]:
    """Side of a patch and of the input the model was trained with, in pixels.

    Example:
        >>> patch_and_size("open_clip/ViT-B-16-plus-240"), patch_and_size("open_clip/ViT-L-14")
        ((16, 240), (14, 224))
    """
    found = _NAME.fullmatch(model_name(name))
    if found is None:
        raise ValueError(f"embedder.name: {name!r} is no OpenCLIP vision transformer, such as {WINCLIP}")
    return int(found["patch"]), int(found["size"] or TRAINED_SIZE)
