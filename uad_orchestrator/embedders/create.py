"""From the ``embedder:`` settings to an embedder, its recipe and its weight file.

Each family of embedders is a module with the same five functions (``Family``); which one a name belongs to
follows from the name alone. Nothing here imports torch before the first image is embedded.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from uad_orchestrator.embedders import filter_bank
from uad_orchestrator.embedders.extras import require_extra
from uad_orchestrator.embedders.open_clip import vit as open_clip_vit
from uad_orchestrator.embedders.open_clip.names import DEFAULT_HUBS, WINCLIP, is_open_clip
from uad_orchestrator.embedders.open_clip.names import PREFIX as OPEN_CLIP_PREFIX
from uad_orchestrator.embedders.protocol import PatchEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.timm import cnn as timm_cnn
from uad_orchestrator.embedders.timm import vit as timm_vit
from uad_orchestrator.embedders.timm.names import EXAMPLES, PREFIX, is_known_timm, is_vit
from uad_orchestrator.embedders.torchvision import cnn as torchvision_cnn
from uad_orchestrator.embedders.torchvision.names import TORCHVISION_CNNS
from uad_orchestrator.embedders.weight_files import HUGGING_FACE_FILES, OPEN_CLIP_FILES, locate_weights


class Family(Protocol):
    """What a family's module offers; all but ``resolve`` take resolved settings."""

    def resolve(self, settings: EmbedderSettings) -> EmbedderSettings:
        """Defaults filled in; ValueError for a setting that does not fit the family."""

    def recipe(self, settings: EmbedderSettings) -> dict[str, Any]:
        """Every number-relevant setting and the embedder's version, as JSON values."""

    def default_hub(self, settings: EmbedderSettings) -> str | None:
        """The hub id of the weights taken when none are named."""

    def create(self, settings: EmbedderSettings, weights: Path | None, device: str) -> PatchEmbedder:
        """The embedder."""


def known_embedders() -> list[str]:
    """The names to choose from; timm (``timm/<name>``) and open_clip (``open_clip/ViT-...``) have more."""
    open_clip = [OPEN_CLIP_PREFIX + name for name in DEFAULT_HUBS]
    return ["filter_bank", *TORCHVISION_CNNS, *EXAMPLES, *open_clip]


def resolve_settings(settings: EmbedderSettings) -> EmbedderSettings:
    """The settings with every default filled in.

    Raises:
        ValueError: an unknown name (says the nearest), or a setting that does not fit that embedder.

    Example:
        >>> resolve_settings(EmbedderSettings(name="resnet18")).layers
        ('layer2', 'layer3')
    """
    if settings.vv_blocks is not None and not is_open_clip(settings.name):
        raise ValueError(
            f"embedder.vv_blocks: only OpenCLIP ViTs such as {WINCLIP} have it; leave the key out"
        )
    return _family(settings.name).resolve(settings)


def embedder_recipe(settings: EmbedderSettings) -> dict[str, Any]:
    """Everything that decides the numbers but the weights: where they lie and how they came is left out."""
    return _family(settings.name).recipe(resolve_settings(settings))


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
    if settings.name == "filter_bank":
        return None
    hub = _family(settings.name).default_hub(resolve_settings(settings))
    files = OPEN_CLIP_FILES if is_open_clip(settings.name) else HUGGING_FACE_FILES
    return locate_weights(settings, base, hub, files)


def create_embedder(
    settings: EmbedderSettings, weights: Path | None = None, device: str = "auto"
) -> PatchEmbedder:
    """The embedder. torch and the weights are loaded with the first image.

    Args:
        settings: its settings; defaults are filled in.
        weights: the weight file; None: looked up from the settings, relative to the current folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        ValueError: as ``resolve_settings``.
        WeightsError: as ``weight_file``.
        ImportError: torch, torchvision, timm or open_clip is not installed.
    """
    family = _family(settings.name)
    resolved = resolve_settings(settings)
    if settings.name != "filter_bank":
        needed = ("torch", "open_clip") if is_open_clip(settings.name) else ("torch", "torchvision", "timm")
        extra = "clip" if is_open_clip(settings.name) else "torch"
        require_extra(*needed, extra=extra, what=f"embedder {settings.name}")
        weights = weights or weight_file(settings, Path.cwd())
    return family.create(resolved, weights, device)


def _family(name: str) -> Family:
    if name == "filter_bank":
        return filter_bank
    if name in TORCHVISION_CNNS:
        return torchvision_cnn
    if is_open_clip(name):
        return open_clip_vit
    if is_known_timm(name):
        return timm_vit if is_vit(name) else timm_cnn
    close = get_close_matches(name, known_embedders(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"valid are {', '.join(known_embedders())}"
    raise ValueError(f"embedder.name: {name!r} is unknown: {hint} Any timm model is {PREFIX}<its name>")
