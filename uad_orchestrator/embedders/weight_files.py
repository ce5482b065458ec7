"""Where an embedder's weights come from: a local file, or the local cache of a hub. Nothing is fetched unless
``download: true``.
"""

from __future__ import annotations

import os
from pathlib import Path

from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torchvision.names import TORCHVISION_CNNS
from uad_orchestrator.embedders.weights import WeightsError, random_seed

HUB = "hub:"
TORCHVISION_URL = "https://download.pytorch.org/models/"
HUGGING_FACE_FILES = ("model.safetensors", "pytorch_model.bin")
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""A repository's file of weights, by timm's and by open_clip's naming; the first is fetched, any is used."""


def locate_weights(
    settings: EmbedderSettings,
    base: Path,
    default_hub: str | None,
    hub_files: tuple[str, ...] = HUGGING_FACE_FILES,
) -> Path | None:
    """The weight file of these settings on this machine.

    Args:
        settings: ``weights`` is a file (relative to ``base``), ``hub:<id>`` or ``random:<seed>``.
        base: the folder of the project file.
        default_hub: the hub id used when ``weights`` is not given; None: there is none for this name.
        hub_files: what the weights are called in a repository of the Hugging Face hub.

    Returns:
        The file; None for random weights.

    Raises:
        WeightsError: there is no such file, or the hub's file is not in the local cache and ``download`` is
            false, or it cannot be fetched.
        ImportError: the hub's client is not installed.
    """
    if random_seed(settings) is not None:
        return None
    if settings.weights is None and default_hub is None:
        raise WeightsError(f"{settings.name} has no weights. {_how_to_give_weights(settings.name, None)}")
    source = settings.weights or f"{HUB}{default_hub}"
    if not source.startswith(HUB):
        return _local_file(source, base, settings.name)
    hub_id = source.removeprefix(HUB).strip()
    if hub_id.startswith("torchvision/"):
        return _torchvision_file(hub_id, settings)
    return _hugging_face_file(hub_id, settings, hub_files)


def _local_file(source: str, base: Path, name: str) -> Path:
    path = base / Path(source).expanduser()
    if not path.is_file():
        raise WeightsError(f"embedder.weights: there is no file {path}. {_how_to_give_weights(name, None)}")
    return path


def _torchvision_file(hub_id: str, settings: EmbedderSettings) -> Path:
    name = hub_id.removeprefix("torchvision/")
    if name not in TORCHVISION_CNNS:
        raise WeightsError(
            f"embedder.weights: hub:{hub_id} is unknown; hub:torchvision/resnet18 is an example"
        )
    filename = TORCHVISION_CNNS[name].weight_file
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache_home / "torch").expanduser()
    path = torch_home / "hub" / "checkpoints" / filename
    if path.is_file():
        return path
    if not settings.download:
        raise WeightsError(
            f"{settings.name}: no weights on this machine: put {TORCHVISION_URL}{filename} at {path}. "
            + _how_to_give_weights(settings.name, hub_id)
        )
    from torch.hub import download_url_to_file

    path.parent.mkdir(parents=True, exist_ok=True)
    digest = path.stem.rsplit("-", 1)[1]
    try:
        download_url_to_file(TORCHVISION_URL + filename, str(path), hash_prefix=digest, progress=False)
    except OSError as error:
        raise WeightsError(
            f"{settings.name}: {TORCHVISION_URL}{filename} cannot be fetched: {error}"
        ) from error
    return path


def _hugging_face_file(hub_id: str, settings: EmbedderSettings, files: tuple[str, ...]) -> Path:
    from uad_orchestrator.extras import require_extra

    require_extra("huggingface_hub", extra="torch", what=f"weights from hub:{hub_id}")
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    for filename in files:
        if isinstance(cached := try_to_load_from_cache(hub_id, filename), str):
            return Path(cached)
    if not settings.download:
        raise WeightsError(
            f"{settings.name}: the weights hub:{hub_id} are not in the local cache {HF_HUB_CACHE} "
            f"(`hf download {hub_id} {files[0]}` puts them there). "
            + _how_to_give_weights(settings.name, hub_id)
        )
    try:
        return Path(hf_hub_download(hub_id, files[0]))
    except Exception as error:
        raise WeightsError(f"{settings.name}: hub:{hub_id} cannot be fetched: {error}") from error


def _how_to_give_weights(name: str, hub_id: str | None) -> str:
    hub = f"set `download: true` to fetch hub:{hub_id}" if hub_id else "name a hub: `weights: hub:<id>`"
    return (
        f"In the `embedder:` entry give a local file (`weights: /path/to/{name.partition('.')[0]}.pth`, or "
        f".safetensors), or {hub}. `weights: random:0` takes untrained weights, for tests"
    )
