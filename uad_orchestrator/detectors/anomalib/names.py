"""The models of anomalib by the names a project file calls them, known without importing anomalib."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

ANY_MODEL = "vision_anomalib_checkpoint"
"""The detector for exported checkpoints whatever model is in them."""

KNOWN_MODELS = (
    "anomaly_dino", "anomalyvfm", "cfa", "cflow", "cfm", "csflow", "dfkde", "dfm", "dinomaly", "draem", "dsr",
    "efficient_ad", "fastflow", "foundad", "fre", "ganomaly", "general_ad", "glass", "inp_former", "l2bt",
    "mh_patchcore", "padim", "patchcore", "patchflow", "rad", "reverse_distillation", "stfpm", "super_add",
    "supersimplenet", "uflow", "uninet", "vlm_ad", "winclip",
)  # fmt: skip
"""Folder names of anomalib 2.7's image models: what is known where the extra is not installed."""

OTHER_NAMES: Mapping[str, str] = {"efficientad": "efficient_ad"}
"""Further words for a model, by which users know it."""

BANK_MODELS = frozenset(  # anomalib's MemoryBankMixin
    ("anomaly_dino", "dfkde", "dfm", "mh_patchcore", "padim", "patchcore", "rad", "super_add")
)
"""Models whose checkpoint holds features of its training normals, or statistics of them."""

NO_TRAINING: Mapping[str, str] = {
    "cfm": "it is trained on point clouds beside the images",
    "vlm_ad": "it asks a language model, there is nothing to train",
    "winclip": "it is zero-shot, there is nothing to train",
}
"""Models that cannot be trained here, and why."""

FETCHES: Mapping[str, str] = {
    "anomalyvfm": "the weights of its foundation model",
    "draem": "the texture images of DTD (1 GB)",
    "dsr": "the weights of its quantised auto-encoder",
    "efficient_ad": "the weights of its teacher, and Imagenette (1.5 GB)",
    "glass": "the texture images of DTD (1 GB)",
}
"""Models whose training fetches more than a backbone's weights: what."""


def detector_name(model: str) -> str:
    """The detector of a model of anomalib.

    >>> detector_name("padim")
    'vision_padim_anomalib'
    """
    return f"vision_{model}_anomalib"


def model_of(detector: str) -> str | None:
    """The model (folder name in anomalib) a detector's name stands for; None for ``vision_anomalib_checkpoint``.

    >>> model_of("vision_efficientad_anomalib")
    'efficient_ad'
    """
    named = re.fullmatch(r"vision_(\w+)_anomalib", detector)
    return None if named is None else OTHER_NAMES.get(named[1], named[1])


def anomalib_models() -> tuple[str, ...]:
    """Every word for a model: those of the installed anomalib, and those known anyway. Nothing is imported."""
    return tuple(sorted({*KNOWN_MODELS, *OTHER_NAMES, *_installed_models()}))


def _installed_models() -> list[str]:
    spec = find_spec("anomalib")
    roots = spec.submodule_search_locations if spec is not None else None
    folders = [path for root in roots or () for path in (Path(root) / "models" / "image").glob("*/")]
    return [folder.name for folder in folders if (folder / "__init__.py").is_file()]
