"""The one way torch networks are run: sizes, batches, device, precision. What differs is the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np

from uad_orchestrator.embedders.input_plan import InputPlan, check_image, plan_input
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.decode import RgbImage

Network = Callable[[Any], Any]
"""Takes a normalised ``(b, 3, h, w)`` float32 tensor, gives ``(b, gh, gw, d)``."""


class TorchEmbedder:
    """Patch embeddings of a network.

    The network is built and its weights are read when the first image comes, so a run that finds every
    embedding in the cache never imports torch. Images are resized and scaled one by one, on the CPU; those of
    one input size go through the network together, in float32 without TF32 and with deterministic kernels.

    Args:
        settings: resolved settings (``resolve_settings``).
        recipe: everything but the weights that decides the numbers.
        load_network: builds the network on a device, in evaluation mode.
        device: ``auto`` (a CUDA GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        multiple: sides of the input are cut to a multiple of it (a ViT's patch size).
        interpolation: of the resize, with antialiasing.
    """

    def __init__(
        self,
        settings: EmbedderSettings,
        recipe: dict[str, Any],
        load_network: Callable[[Any], Network],
        *,
        device: str = "auto",
        multiple: int = 1,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        self.settings = settings
        self.device = device
        self.multiple = multiple
        self.interpolation = interpolation
        self._recipe = recipe
        self._load_network = load_network

    def recipe(self) -> dict[str, Any]:
        """Name, version, layers, sizes, normalisation."""
        return dict(self._recipe)

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """One image's patch embeddings."""
        return self.embed_batch([image])[0]

    def embed_batch(self, images: Sequence[RgbImage]) -> list[PatchEmbedding]:
        """One result per image, in order; images of one input size share a forward pass.

        Raises:
            ValueError: an image is smaller than one patch, or not ``(H, W, 3)`` uint8 or uint16.
        """
        plans = [self._plan(image) for image in images]
        inputs: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            inputs.setdefault(plan.input_size, []).append(index)
        results: dict[int, PatchEmbedding] = {}
        for indices in inputs.values():
            grids = self._forward([self._input(images[i], plans[i]) for i in indices])
            for index, grid in zip(indices, grids, strict=True):
                results[index] = _patch_embedding(grid, images[index], plans[index])
        return [results[index] for index in range(len(images))]

    @cached_property
    def torch_device(self) -> Any:
        """The device the network runs on."""
        return choose_device(self.device)

    @cached_property
    def _network(self) -> Network:
        return self._load_network(self.torch_device)

    def _plan(self, image: RgbImage) -> InputPlan:
        check_image(image)
        plan = plan_input((image.shape[0], image.shape[1]), self.settings, self.multiple)
        if 0 in plan.input_size:
            raise ValueError(
                f"an image of {image.shape[0]} x {image.shape[1]} px gives an input of {plan.resized_size}, "
                f"less than one patch of {self.multiple} px"
            )
        return plan

    def _input(self, image: RgbImage, plan: InputPlan) -> Any:
        """Resized in [0, 1], cropped at the top left, normalised: ``(3, h, w)`` float32 on the CPU."""
        import torch

        full_scale = float(np.iinfo(image.dtype).max)
        unit = torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None] / full_scale
        if tuple(unit.shape[-2:]) != plan.resized_size:
            unit = torch.nn.functional.interpolate(
                unit, size=plan.resized_size, mode=self.interpolation, align_corners=False, antialias=True
            ).clamp(0, 1)
        height, width = plan.input_size
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.settings.mean, self.settings.std))
        return (unit[0, :, :height, :width] - mean) / std

    def _forward(self, inputs: list[Any]) -> np.ndarray:
        """``(b, gh, gw, d)`` float32 of inputs of one size."""
        import torch

        with torch.inference_mode(), exact_kernels():
            batch = torch.stack(inputs).to(self.torch_device)
            return self._network(batch).float().cpu().numpy()


def choose_device(device: str) -> Any:
    """``auto`` is a CUDA GPU if there is one, else the CPU.

    Raises:
        ValueError: the device asked for is not there.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"runtime.device: {device!r} cannot be used ({reason}); take auto or cpu") from error
    return chosen


@contextmanager
def exact_kernels() -> Any:
    """float32 without TF32, kernels that do not depend on what was run before."""
    import torch

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def _patch_embedding(grid: np.ndarray, image: RgbImage, plan: InputPlan) -> PatchEmbedding:
    rows, columns, dimension = grid.shape
    patches = np.ascontiguousarray(grid, np.float32).reshape(rows * columns, dimension)
    return PatchEmbedding(
        patches, (rows, columns), (image.shape[0], image.shape[1]), plan.region, plan.input_size
    )
