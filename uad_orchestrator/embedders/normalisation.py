"""Means and standard deviations that published weights expect, per channel of RGB in [0, 1]."""

from __future__ import annotations

from typing import NamedTuple

Triple = tuple[float, float, float]


class Normalisation(NamedTuple):
    """``(x - mean) / std``."""

    mean: Triple
    std: Triple


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
