"""From the ``embedder:`` settings to an embedder, its recipe and its weight file.

Which embedder, or which family of them, a name belongs to follows from the name alone; those of other packages are
known by their entry points (``plugins``). Nothing here imports torch before the first image is embedded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uad_orchestrator.embedders import filter_bank
from uad_orchestrator.embedders.family import EmbedderSpec
from uad_orchestrator.embedders.open_clip import vit as open_clip_vit
from uad_orchestrator.embedders.open_clip.names import DEFAULT_HUBS, is_open_clip
from uad_orchestrator.embedders.open_clip.names import PREFIX as OPEN_CLIP_PREFIX
from uad_orchestrator.embedders.protocol import PatchEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.timm import cnn as timm_cnn
from uad_orchestrator.embedders.timm import vit as timm_vit
from uad_orchestrator.embedders.timm.names import EXAMPLES, PREFIX, is_known_timm, is_vit
from uad_orchestrator.embedders.torchvision import cnn as torchvision_cnn
from uad_orchestrator.embedders.torchvision.names import TORCHVISION_CNNS
from uad_orchestrator.embedders.weight_files import locate_weights
from uad_orchestrator.extras import require_extra
from uad_orchestrator.plugins import PluginGroup
from uad_orchestrator.spelling import choose_from

PLUGINS = PluginGroup("uad_orchestrator.embedders", EmbedderSpec, "embedder")
"""The embedders of other packages."""


def known_embedders() -> list[str]:
    """The names to choose from.

    Returns:
        Names of this package's embedders; timm (``timm/<name>``) and open_clip (``open_clip/ViT-...``) have more.
    """
    open_clip = [OPEN_CLIP_PREFIX + name for name in DEFAULT_HUBS]
    return ["filter_bank", *TORCHVISION_CNNS, *EXAMPLES, *open_clip]


def embedder_spec(name: str) -> EmbedderSpec:
    """What is known of an embedder, one of ours or a plug-in's.

    Args:
        name: as a project file says it, ``resnet18``, ...

    Returns:
        The spec of the embedder, or of the family it belongs to.

    Raises:
        ValueError: there is none of that name; says the nearest.
        PluginError: the package that brings it cannot be used, or several bring it.
    """
    spec = PLUGINS.choose(name, _our_embedder(name))
    if spec is not None:
        return spec
    known = [*known_embedders(), *PLUGINS.words]
    raise ValueError(
        f"embedder.name: {name!r} is unknown; {choose_from(name, known)}. Any timm model is {PREFIX}<its name>; "
        "one that another package brings can be named once that is installed"
    )


def _our_embedder(name: str) -> EmbedderSpec | None:
    """The family of this package that a name belongs to; None: none of them."""
    if name == "filter_bank":
        return filter_bank.SPEC
    if name in TORCHVISION_CNNS:
        return torchvision_cnn.SPEC
    if is_open_clip(name):
        return open_clip_vit.SPEC
    if is_known_timm(name):
        return timm_vit.SPEC if is_vit(name) else timm_cnn.SPEC
    return None


def resolve_settings(settings: EmbedderSettings) -> EmbedderSettings:
    """The settings with every default filled in.

    Args:
        settings: as a project file has them.

    Returns:
        A copy, of the embedder's own model.

    Raises:
        ValueError: an unknown name (says the nearest), or a setting that does not fit that embedder.
        PluginError: as ``embedder_spec``.

    Example:
        >>> resolve_settings(EmbedderSettings(name="resnet18")).layers
        ('layer2', 'layer3')
    """
    return embedder_spec(settings.name).resolved(settings)


def embedder_recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """Everything that decides the numbers but the weights: where they lie and how they came is left out.

    Args:
        settings: as a project file has them.

    Returns:
        JSON values; of a plug-in's embedder the version of its package is among them.

    Raises:
        ValueError, PluginError: as ``resolve_settings``.
    """
    spec, package = embedder_spec(settings.name), PLUGINS.package_of(settings.name)
    recipe = {"embedder": settings.name, "version": spec.version, **spec.recipe(spec.resolved(settings))}
    return {**recipe, "package": package} if package else recipe


def weight_file(settings: EmbedderSettings, base: Path) -> Path | None:
    """The weight file on this machine: local, the hub's in the local cache, or fetched (``download: true``).

    Args:
        settings: as in the project file.
        base: the folder relative paths start from: that of the project file.

    Returns:
        The file; None for an embedder without weights and for random ones.

    Raises:
        WeightsError: not there; the message says what to put where.
        ImportError: the hub's client is not installed.
    """
    spec = embedder_spec(settings.name)
    if "weights" not in spec.reads:
        return None
    return locate_weights(settings, base, spec.default_hub(spec.resolved(settings)), spec.hub_files)


def create_embedder(
    settings: EmbedderSettings, weights: Path | None = None, device: str = "auto"
) -> PatchEmbedder:
    """The embedder. torch and the weights are loaded with the first image.

    Args:
        settings: its settings; defaults are filled in.
        weights: the weight file; None: looked up from the settings, relative to the current folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Returns:
        What turns images into patch embeddings.

    Raises:
        ValueError, PluginError: as ``resolve_settings``.
        WeightsError: as ``weight_file``.
        ImportError: torch, torchvision, timm or open_clip is not installed.

    >>> import numpy as np
    >>> embedder = create_embedder(EmbedderSettings(name="filter_bank", image_size=64))
    >>> embedder.embed(np.zeros((480, 640, 3), np.uint8)).grid_shape
    (8, 8)
    """
    spec, resolved = embedder_spec(settings.name), resolve_settings(settings)
    require_extra(*spec.needs, extra=spec.extra, what=f"embedder {settings.name}")
    return spec.create(resolved, weights or weight_file(settings, Path.cwd()), device)
