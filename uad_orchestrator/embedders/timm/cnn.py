"""timm CNNs by name, e.g. ``mobilenetv2_100``; layers by module name, or ``stride8``, ``stride16``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from uad_orchestrator.embedders.cnn import CnnNetwork, cnn_network
from uad_orchestrator.embedders.family import TORCH_MODULES, EmbedderSpec
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.timm.names import default_tag, model_name, timm_normalisation
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder, computed_in
from uad_orchestrator.embedders.torchvision.cnn import (
    CNN_KEYS,
    DIMENSION,
    check_layers,
    cnn_defaults,
    cnn_recipe,
)
from uad_orchestrator.embedders.weight_files import HUGGING_FACE_FILES
from uad_orchestrator.embedders.weights import load_weights, random_seed, read_state_dict
from uad_orchestrator.spelling import choose_from

VERSION = 1


def resolve(settings: EmbedderSettings) -> EmbedderSettings:
    """PatchCore's defaults on the last features of stride 8 and 16."""
    return with_normalisation(cnn_defaults(settings, ("stride8", "stride16")))


def with_normalisation(settings: EmbedderSettings) -> EmbedderSettings:
    """Mean and std filled in from the name.

    Raises:
        ValueError: the name does not say them and the settings do not either.
    """
    known = timm_normalisation(settings.name)
    mean, std = settings.mean or (known and known.mean), settings.std or (known and known.std)
    if mean is None or std is None:
        raise ValueError(
            f"embedder.mean, embedder.std: give what {settings.name}'s weights expect (its model card says), "
            "e.g. mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"
        )
    return settings.model_copy(update={"mean": mean, "std": std})


def recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """The recipe of resolved settings."""
    return cnn_recipe(settings, "timm_cnn", VERSION)


def default_hub(settings: EmbedderSettings) -> str | None:
    """timm's repository of that name and tag on the Hugging Face hub."""
    return default_tag(settings.name)


def create(settings: EmbedderSettings, weights: Path | None, device: str) -> TorchEmbedder:
    """The embedder for resolved settings."""
    return TorchEmbedder(settings, recipe(settings), partial(load_network, settings, weights), device=device)


SPEC = EmbedderSpec(
    implementation="uad_orchestrator.embedders.timm.cnn:create",
    version=VERSION,
    reads=CNN_KEYS,
    resolve=resolve,
    recipe=recipe,
    default_hub=default_hub,
    hub_files=HUGGING_FACE_FILES,
    needs=TORCH_MODULES,
)


def load_network(settings: EmbedderSettings, weights: Path | None, device: Any) -> CnnNetwork:
    """Build the network up to the deepest layer in use and fill it.

    Raises:
        ValueError: timm has no such model, or the model no such layer.
        WeightsError: weights that do not fit.
    """
    from timm.models import create_feature_extractor

    model = timm_model(settings)
    layers = tuple(_module_name(model, layer, settings.name) for layer in settings.layers or ())
    check_layers(model, layers, settings.name)
    extractor = create_feature_extractor(model, list(layers))
    if weights is not None:
        load_weights(extractor, read_state_dict(weights, device), weights, settings.name)
    faster = bool(computed_in(settings))
    return cnn_network(extractor, layers, settings.dimension or DIMENSION, device, channels_last=faster)


def timm_model(settings: EmbedderSettings, **options: Any) -> Any:
    """The untrained timm model in evaluation mode; ``weights: random:<seed>`` sets the seed.

    Raises:
        ValueError: timm does not have it.
    """
    import timm
    import torch

    name = model_name(settings.name)
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(
            f"embedder.name: timm has no model {name!r}; {choose_from(name, timm.list_models())}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed(settings) or 0)
        return timm.create_model(name, pretrained=False, **options).eval()


def _module_name(model: Any, layer: str, name: str) -> str:
    """``stride8`` as the module that gives the model's last features of that stride."""
    if not layer.startswith("stride"):
        return layer
    info = getattr(model, "feature_info", None) or []
    strides = {f"stride{stage['reduction']}": str(stage["module"]) for stage in getattr(info, "info", info)}
    if layer not in strides:
        raise ValueError(
            f"embedder.layers: {name} has no {layer!r}; it has {', '.join(strides) or 'module names only'}"
        )
    return strides[layer]
