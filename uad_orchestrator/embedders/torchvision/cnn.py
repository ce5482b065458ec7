"""torchvision CNNs by name, e.g. ``resnet18``, ``wide_resnet50_2``; layers by module name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from uad_orchestrator.embedders.cnn import CnnNetwork, cnn_network
from uad_orchestrator.embedders.family import TORCH_MODULES, EmbedderSpec
from uad_orchestrator.embedders.input_plan import check_sizes
from uad_orchestrator.embedders.normalisation import IMAGENET
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder, computed_in
from uad_orchestrator.embedders.torchvision.names import TORCHVISION_CNNS
from uad_orchestrator.embedders.weights import WeightsError, load_weights, random_seed, read_state_dict
from uad_orchestrator.spelling import choose_from

VERSION = 1
DIMENSION = 1024
"""PatchCore's size of a patch embedding."""

CNN_KEYS = ("weights", "download", "layers", "image_size", "resize", "dimension", "mean", "std", "compute")
"""What every CNN reads of its settings."""

SAME_ORDER_AS_TIMM = frozenset({"mobilenet_v2"})
"""Models whose timm twin has other names but the same tensors in the same order (a test compares outputs)."""


def resolve(settings: EmbedderSettings) -> EmbedderSettings:
    """PatchCore's defaults: squash to 224, two layers at stride 8 and 16, 1024 dimensions, ImageNet norm."""
    resolved = cnn_defaults(settings, TORCHVISION_CNNS[settings.name].layers)
    mean, std = settings.mean or IMAGENET.mean, settings.std or IMAGENET.std
    return resolved.model_copy(update={"mean": mean, "std": std})


def cnn_defaults(settings: EmbedderSettings, layers: tuple[str, ...]) -> EmbedderSettings:
    """What every CNN shares.

    Raises:
        ValueError: no or repeated layers, or sizes that do not fit.
    """
    layers = settings.layers if settings.layers is not None else layers
    if not layers or len(set(layers)) != len(layers):
        raise ValueError(f"embedder.layers: expected one or more different layers, got {list(layers)}")
    random_seed(settings)
    resolved = settings.model_copy(
        update={
            "layers": layers,
            "image_size": settings.image_size or 224,
            "resize": settings.resize or "squash",
            "dimension": settings.dimension or DIMENSION,
        }
    )
    check_sizes(resolved)
    return resolved


def recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """The recipe of resolved settings."""
    return cnn_recipe(settings, "torchvision_cnn", VERSION)


def cnn_recipe(settings: EmbedderSettings, family: str, version: int) -> dict[str, Any]:
    """Everything but trained weights that decides a CNN's patch embeddings."""
    facts = settings.model_dump(
        mode="json", include={"name", "layers", "image_size", "resize", "dimension", "mean", "std"}
    )
    seed = random_seed(settings)
    return {
        "embedder": family,
        "version": version,
        "precision": "float16",  # changed scores by less than 1e-4 relative
        **facts,
        **({} if seed is None else {"random_seed": seed}),
        **computed_in(settings),
    }


def default_hub(settings: EmbedderSettings) -> str | None:
    """torchvision's own weights, the ones of the paper (IMAGENET1K_V1)."""
    return f"torchvision/{settings.name}"


def create(settings: EmbedderSettings, weights: Path | None, device: str) -> TorchEmbedder:
    """The embedder for resolved settings."""
    return TorchEmbedder(settings, recipe(settings), partial(load_network, settings, weights), device=device)


SPEC = EmbedderSpec(
    implementation="uad_orchestrator.embedders.torchvision.cnn:create",
    version=VERSION,
    reads=CNN_KEYS,
    resolve=resolve,
    recipe=recipe,
    default_hub=default_hub,
    needs=TORCH_MODULES,
)


def load_network(settings: EmbedderSettings, weights: Path | None, device: Any) -> CnnNetwork:
    """Build the network up to the deepest layer in use and fill it.

    Raises:
        ValueError: a layer the model does not have.
        WeightsError: weights that do not fit.
    """
    import torch
    import torchvision
    from torchvision.models.feature_extraction import create_feature_extractor

    layers, dimension = settings.layers or (), settings.dimension or DIMENSION
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed(settings) or 0)
        model = torchvision.models.get_model(settings.name, weights=None).eval()
    check_layers(model, layers, settings.name)
    full_names = list(model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        extractor = create_feature_extractor(model, list(layers))
    if weights is not None:
        tensors = read_state_dict(weights, device)
        if settings.name in SAME_ORDER_AS_TIMM and not set(full_names) & set(tensors):
            tensors = renamed_by_order(tensors, model.state_dict(), weights)
        load_weights(extractor, tensors, weights, settings.name)
    faster = bool(computed_in(settings))
    return cnn_network(extractor, layers, dimension, device, channels_last=faster)


def check_layers(model: Any, layers: tuple[str, ...], name: str) -> None:
    """Every layer is a module of the model.

    Raises:
        ValueError: it is not; the message has the nearest names.
    """
    modules = [module for module, _ in model.named_modules() if module]
    for layer in layers:
        if layer not in modules:
            raise ValueError(f"embedder.layers: {name} has no layer {layer!r}; {choose_from(layer, modules)}")


def renamed_by_order(tensors: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Tensors under the names of another implementation of the same model, matched in order and by shape.

    Raises:
        WeightsError: the shapes differ anywhere.
    """
    given = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    names = {k: v for k, v in wanted.items() if not k.endswith("num_batches_tracked")}
    if [tuple(v.shape) for v in given.values()] != [tuple(v.shape) for v in names.values()]:
        raise WeightsError(
            f"{path}: neither torchvision's nor timm's tensors of this model; its first is "
            f"{next(iter(tensors))!r}"
        )
    return dict(zip(names, given.values(), strict=True))
