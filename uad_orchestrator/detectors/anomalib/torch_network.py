"""Exported ``.pt`` and Lightning ``.ckpt`` files of anomalib's models, run by torch, before any normalisation."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Sequence
from importlib import import_module
from inspect import isclass
from typing import Any

import numpy as np

from uad_orchestrator.detectors.anomalib.fetching import weights_come_later
from uad_orchestrator.detectors.anomalib.names import detector_name
from uad_orchestrator.detectors.anomalib.results import RawResult, read_prediction, unit_float, whole
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.embedders.torch_device import choose_device, exact_kernels
from uad_orchestrator.embedders.weights import WeightsError, require_sound
from uad_orchestrator.extras import require_extra
from uad_orchestrator.images.decode import RgbImage

logger = logging.getLogger(__name__)


class TorchModel:
    """An anomalib module: its pre-processor, then its network; its post-processor, which normalises, is left out.

    Where the device's memory is too small for a batch, halves of it are tried, and for one image the CPU.

    Args:
        module: an ``AnomalibModule``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    """

    def __init__(self, module: Any, device: str) -> None:
        self._device = choose_device(device)
        self.module = module.eval().to(self._device)

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._device)

    def run(self, images: Sequence[RgbImage]) -> list[RawResult]:
        """One result per image, in order; inputs of one size share a forward pass."""
        import torch

        results: dict[int, RawResult] = {}
        with torch.inference_mode(), exact_kernels():
            inputs = [self._input(image) for image in images]
            for size in {given.shape for given in inputs}:
                indices = [i for i, given in enumerate(inputs) if given.shape == size]
                answers = self._answers(torch.cat([inputs[i] for i in indices]))
                for i, answer in zip(indices, answers, strict=True):
                    results[i] = RawResult(*answer, self._region(images[i]))
        return [results[i] for i in range(len(images))]

    def _answers(self, batch: Any) -> list[tuple[float, np.ndarray | None]]:
        """Score and map of each input of a batch."""
        import torch

        try:
            return read_prediction(self.module.model(batch.to(self._device)), len(batch))
        except torch.OutOfMemoryError:
            if len(batch) == 1 and self._device.type == "cpu":
                raise
        # out of the `except` block, whose exception would keep the failed pass's tensors
        if len(batch) > 1:
            logger.warning(
                "%s has no memory for %d images at once: trying half of them", self.device, len(batch)
            )
            halves = batch.split((len(batch) + 1) // 2)
            return [answer for half in halves for answer in self._answers(half)]
        logger.warning("%s has no memory for one image: going on on the CPU", self.device)
        self._device = torch.device("cpu")
        self.module = self.module.to(self._device)
        return self._answers(batch)

    def _input(self, image: RgbImage) -> Any:
        import torch

        given = torch.from_numpy(unit_float(image)).permute(2, 0, 1)[None].to(self._device)
        return given if self.module.pre_processor is None else self.module.pre_processor(given)

    def _region(self, image: RgbImage) -> Region:
        """What a centre crop of the pre-processor leaves of an image; without one all of it."""
        import torch
        from torchvision.transforms.v2 import CenterCrop, Resize

        transform = getattr(self.module.pre_processor, "transform", None)
        crop, resize = first_transform(transform, CenterCrop), first_transform(transform, Resize)
        if crop is None:
            return whole(image)
        size = image.shape[:2]
        resized = size if resize is None else tuple(resize(torch.zeros(1, *size)).shape[-2:])
        begin = [round((full - kept) / 2) for full, kept in zip(resized, crop.size, strict=True)]
        end = [start + kept for start, kept in zip(begin, crop.size, strict=True)]
        scale = [original / full for original, full in zip(size, resized, strict=True)]
        return Region(begin[0] * scale[0], begin[1] * scale[1], end[0] * scale[0], end[1] * scale[1])


def first_transform(transform: Any, kind: type) -> Any | None:
    """The first transform of a kind in a transform or a composition of them."""
    steps = getattr(transform, "transforms", [transform])
    return next((step for step in steps if isinstance(step, kind)), None)


def model_class(network: str) -> Any:
    """The class of a model of anomalib, by its folder's name there.

    Raises:
        ImportError: anomalib is not installed, or this version of it lacks the model.
    """
    require_extra("anomalib", extra="anomalib", what=detector_name(network))
    from anomalib.models.components import AnomalibModule

    try:
        found = import_module(f"anomalib.models.image.{network}")
    except ModuleNotFoundError as error:
        if error.name != f"anomalib.models.image.{network}":
            raise
        raise ImportError(f"the installed anomalib has no model {network}: a newer one may") from error
    return next(
        value for value in vars(found).values() if isclass(value) and issubclass(value, AnomalibModule)
    )


def read_exported(content: bytes, name: str, network: str | None) -> Any:
    """The module of an exported ``.pt``. It is unpickled, which runs code: only for bytes that are trusted.

    Raises:
        ValueError: there is no module of anomalib in it, or one of another class than the detector's name says.
        WeightsError: its network holds values that are not finite.
        ImportError: anomalib is not installed.
    """
    require_extra("anomalib", extra="anomalib", what=f"the checkpoint {name}")
    import torch
    from anomalib.models.components import AnomalibModule

    require_sound(io.BytesIO(content), name)
    stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    module = stored.get("model") if isinstance(stored, dict) else None
    if not isinstance(module, AnomalibModule):
        raise ValueError(
            f"{name}: holds no model of anomalib. Expected what Engine.export(ExportType.TORCH) wrote; "
            "a Lightning checkpoint is called .ckpt"
        )
    if network is not None and not isinstance(module, model_class(network)):
        held = type(module).__module__.removeprefix("anomalib.models.image.").split(".")[0]
        raise ValueError(
            f"{name}: holds a {type(module).__name__}, which is no {model_class(network).__name__}: "
            f"the detector for it is {detector_name(held)}"
        )
    return _finite(module, name)


def read_lightning(content: bytes, name: str, network: str, *, safely: bool = False) -> Any:
    """The module of a Lightning ``.ckpt``. Only for bytes that are trusted, unless ``safely``.

    Args:
        content: the file's bytes.
        name: its name, for messages.
        network: the model's folder name in anomalib: the file does not say which class it is of.
        safely: read nothing but tensors and plain values. Checkpoints of earlier versions of anomalib hold
            more than these and need to be unpickled.

    Raises:
        ValueError: its tensors are not those of the class.
        WeightsError: its network holds values that are not finite, or the class cannot be built without weights that
            are not on this machine.
    """
    wanted = model_class(network)
    require_sound(io.BytesIO(content), name)
    try:
        try:
            module = _restored(wanted, content, weights_only=True)
        except pickle.UnpicklingError:
            if safely:
                raise
            module = _restored(wanted, content, weights_only=False)
    except OSError as error:
        raise WeightsError(
            f"{name}: to build {wanted.__name__}, anomalib wants its backbone's own weights first ({error}). "
            "Put them into the cache it looks in, or hand in an exported .pt"
        ) from error
    except (RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[:2])[:300]
        raise ValueError(
            f"{name}: is no Lightning checkpoint of {wanted.__name__} ({reason}). "
            "The detector's name says which model it is: vision_<name>_anomalib"
        ) from error
    return _finite(module, name)


def _finite(module: Any, name: str) -> Any:
    """The module, once its network's tensors are known to be finite; those of its post-processor need not be."""
    for tensor_name, tensor in module.model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(
                f"{name}: {tensor_name!r} holds values that are not finite: "
                "training went astray, or the file was changed"
            )
    return module


def _restored(wanted: Any, content: bytes, *, weights_only: bool) -> Any:
    """The module as it was saved."""
    import torch
    from anomalib.pre_processing import PreProcessor
    from anomalib.utils.serialization import anomalib_safe_globals
    from lightning.pytorch.utilities.seed import isolate_rng

    with anomalib_safe_globals(extra=wanted.checkpoint_safe_globals()):
        stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=weights_only)
    arguments: dict[str, Any] = {"evaluator": False, "visualizer": False}
    if config := stored.get("anomalib_pre_processor_config"):  # networks may be built for its input size
        arguments["pre_processor"] = PreProcessor()
        arguments["pre_processor"].load_checkpoint_config(config)
    with isolate_rng(), weights_come_later():  # until then they are random
        return wanted.load_from_checkpoint(
            io.BytesIO(content), map_location="cpu", weights_only=weights_only, **arguments
        )


def network_of(module: Any) -> str | None:
    """The folder name in anomalib of a module's class; None for a class from elsewhere."""
    place, _, rest = type(module).__module__.partition("anomalib.models.image.")
    return rest.split(".")[0] if rest and not place else None
