"""OpenCLIP models as open_clip defines them, and weight files loaded into the tower that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uad_orchestrator.embedders.open_clip.names import model_name
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import load_weights, random_seed, read_state_dict
from uad_orchestrator.spelling import choose_from


def image_tower(settings: EmbedderSettings, weights: Path | None, device: Any) -> Any:
    """open_clip's ``VisionTransformer``, in evaluation mode, filled from the file.

    Raises:
        ValueError: open_clip has no such model.
        WeightsError: weights that do not fit.
    """
    from torch.nn import ModuleDict

    visual = _untrained(settings).visual
    if weights is not None:
        named = ModuleDict({"visual": visual})
        load_weights(named, read_state_dict(weights, device), weights, settings.name)
    return visual.requires_grad_(False).to(device)


def text_tower(settings: EmbedderSettings, weights: Path | None, device: Any) -> Any:
    """open_clip's ``CLIP`` without its image tower; raises as ``image_tower``."""
    model = _untrained(settings)
    del model.visual, model.logit_scale
    if weights is not None:
        load_weights(model, read_state_dict(weights, device), weights, settings.name)
    return model.requires_grad_(False).to(device)


def _untrained(settings: EmbedderSettings) -> Any:
    """The whole model; ``weights: random:<seed>`` sets the seed, so that both towers come of one draw."""
    import open_clip
    import torch

    name = model_name(settings.name)
    config = open_clip.get_model_config(name)
    if config is None:
        raise ValueError(
            f"embedder.name: open_clip has no model {name!r}; {choose_from(name, open_clip.list_models())}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed(settings) or 0)
        return open_clip.CLIP(**config).eval()
