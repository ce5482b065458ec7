"""An embedder's weights, read from a file or drawn from a seed. Nothing is unpickled; none are made up silently."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from uad_orchestrator.embedders.settings import EmbedderSettings

RANDOM = "random:"


class WeightsError(RuntimeError):
    """Weights that are missing, unreadable, or of another model. The message says what to put where."""


def random_seed(settings: EmbedderSettings) -> int | None:
    """The seed of ``weights: random:<seed>``; None for weights of any other kind.

    Raises:
        ValueError: what follows ``random:`` is no whole number.
    """
    if settings.weights is None or not settings.weights.startswith(RANDOM):
        return None
    seed = settings.weights.removeprefix(RANDOM).strip()
    if not seed.isdigit():
        raise ValueError(f"embedder.weights: {settings.weights!r} needs a seed, such as random:0")
    return int(seed)


def read_state_dict(path: Path, device: Any = None) -> dict[str, Any]:
    """The tensors of a ``.safetensors`` or a PyTorch file, on the CPU.

    Lightning's and timm's wrappers (``state_dict``, ``model``) and ``module.`` prefixes are taken off.

    Args:
        path: the file.
        device: where the network is built. On torch's device ``meta`` nothing but names, shapes and types is read.

    Raises:
        WeightsError: the file is damaged or holds more than tensors (it is never unpickled).
    """
    import torch

    shapes_only = device is not None and torch.device(device).type == "meta"
    try:
        if path.suffix == ".safetensors":
            stored: Any = _safetensors_shapes(path) if shapes_only else _safetensors(path)
        elif shapes_only:
            stored = torch.load(path, map_location="meta", weights_only=True)
        else:
            require_sound(path, path.name)
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise WeightsError(
            f"{path}: cannot be read as weights ({reason}). Expected .safetensors, or a file written by "
            "torch.save(model.state_dict(), FILE)"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(stored, Mapping) and isinstance(stored.get(wrapper), Mapping):
            stored = stored[wrapper]
    tensors = (
        {str(k): v for k, v in stored.items() if isinstance(v, torch.Tensor)}
        if isinstance(stored, Mapping)
        else {}
    )
    if not tensors:
        raise WeightsError(f"{path}: holds no named tensors; expected a model's state_dict")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def require_sound(file: Path | BinaryIO, name: str) -> None:
    """Hold the members of a file of ``torch.save`` to their checksums: PyTorch itself loads flipped bits as they are.

    Args:
        file: to be read; one that is no zip, as of PyTorch before 1.6, is passed over.
        name: for the message.

    Raises:
        WeightsError: a member, or the list of them, is damaged.
    """
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:  # its list of members is damaged
        raise WeightsError(f"{name}: is damaged ({error}). Copy the file again from where it came") from error
    if damaged is not None:
        raise WeightsError(
            f"{name}: is damaged: the checksum of {damaged} in it differs. Copy the file again from where it came "
            "(one written without checksums, by set_crc32_options(False), is to be saved again)"
        )


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)


def _safetensors_shapes(path: Path) -> dict[str, Any]:
    """The tensors by the file's header alone, without values."""
    import torch
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118


def load_weights(network: Any, tensors: Mapping[str, Any], path: Path, model_name: str) -> None:
    """Load into a network the tensors it has; the file may hold more (layers that are not used).

    Raises:
        WeightsError: a tensor the network needs is missing, of another shape, not finite, or a kernel that is
            zero throughout (a layer cut off when the file was made), is sparse, or holds no floating-point values.
    """
    needed = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    if missing := [name for name in needed if name not in tensors]:
        raise WeightsError(
            f"{path}: {len(missing)} of the {len(needed)} tensors that {model_name} needs are missing, "
            f"the first is {missing[0]!r}; the file's first is {next(iter(tensors))!r}. "
            "Is it a file of another model?"
        )
    for name, tensor in needed.items():
        given = tensors[name]
        if given.shape != tensor.shape:
            raise WeightsError(
                f"{path}: {name!r} has shape {tuple(given.shape)}, {model_name} needs {tuple(tensor.shape)}"
            )
        if given.is_meta:
            continue
        if given.layout != tensor.layout:
            raise WeightsError(f"{path}: {name!r} is a sparse tensor, {model_name} needs a plain one")
        if tensor.is_floating_point() and not given.is_floating_point():
            raise WeightsError(
                f"{path}: {name!r} holds {str(given.dtype).removeprefix('torch.')} values, "
                f"{model_name} needs floating point"
            )
        if given.is_floating_point() and not bool(given.to(tensor.dtype).isfinite().all()):
            raise WeightsError(f"{path}: {name!r} holds values that are not finite as {tensor.dtype}")
        if given.ndim > 1 and not bool(given.any()):
            raise WeightsError(
                f"{path}: {name!r} is zero throughout: the file does not hold this layer. "
                "Choose layers before it, or a complete file"
            )
    network.load_state_dict({name: tensors[name] for name in needed}, strict=False)
