"""The one way torch networks are run: sizes, batches, device, precision. What differs is the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from uad_orchestrator.embedders.input_plan import InputPlan, check_image, plan_input
from uad_orchestrator.embedders.protocol import LARGEST_FLOAT16, PatchEmbedding, Precision
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torch_device import choose_device, exact_kernels, kernels
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.decode import RgbImage

CPU_BATCH, GPU_BATCH = 8, 64
"""Images per forward pass that keep a device busy."""

RESIZED_PIXELS = 20_000_000
"""Pixels of images that are resized together on a GPU: 240 MB of float32."""

Network = Callable[[Any], Any]
"""Takes a normalised ``(b, 3, h, w)`` float32 tensor, gives ``(b, gh, gw, d)``."""


class TorchEmbedder:
    """Patch embeddings of a network.

    The network is built and its weights are read when the first image comes, so a run that finds every
    embedding in the cache never imports torch. Images stay as they were decoded until they are on the device; they
    are resized and scaled there, and those of one input size go through the network together, with deterministic
    kernels, in float32 without TF32 unless ``settings.compute`` says otherwise. A batch that does not
    fit into the device's memory is halved, and a single image that does not is embedded on the CPU; both are said.

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
        self._fits: int | None = None

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
        return self.embed_rounded(images, "float32")

    def embed_rounded(self, images: Sequence[RgbImage], precision: Precision) -> list[PatchEmbedding]:
        """``embed_batch`` with the embeddings rounded where they are, so that half as much is copied.

        Args:
            images: as for ``embed_batch``.
            precision: of the embeddings; those of an image with a value beyond float16 stay float32.

        Returns:
            One result per image, in order, of float16 or float32.

        Raises:
            ValueError: as ``embed_batch``.
        """
        plans = [self._plan(image) for image in images]
        inputs: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            inputs.setdefault(plan.input_size, []).append(index)
        results: dict[int, PatchEmbedding] = {}
        for indices in inputs.values():
            grids = self._grids([(images[i], plans[i]) for i in indices], precision)
            for index, grid in zip(indices, grids, strict=True):
                results[index] = _patch_embedding(grid, images[index], plans[index])
        return [results[index] for index in range(len(images))]

    def exact(self) -> Self:
        """The same network, computing in float32 whatever ``settings.compute`` says: what that is held against."""
        twin = copy(self)
        twin.settings = self.settings.model_copy(update={"compute": None})
        return twin

    def new_network(self, device: Any) -> Network:
        """The network once more, apart from the one that embeds.

        Args:
            device: a ``torch.device``.

        Returns:
            In evaluation mode, with its weights.

        Raises:
            WeightsError, ValueError: as ``check_shapes``.
        """
        return self._load_network(device)

    def check_shapes(self) -> None:
        """Hold the weight file against the network by names and shapes alone: neither is given memory.

        Some networks compute with values while they are built; of those nothing is found out.

        Raises:
            WeightsError: a tensor is missing or of another shape, or the file cannot be read.
            ValueError: there is no such model or layer.
        """
        import torch

        meta = torch.device("meta")
        try:
            with meta:
                self._load_network(meta)
        except WeightsError:
            raise
        except (NotImplementedError, RuntimeError):
            return

    @property
    def batch_size(self) -> int:
        """Images per forward pass that keep the device busy, as far as they are known to fit into its memory."""
        usual = CPU_BATCH if self.torch_device.type == "cpu" else GPU_BATCH
        return usual if self._fits is None else min(usual, self._fits)

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

    def _grids(self, batch: Sequence[tuple[RgbImage, InputPlan]], precision: Precision) -> list[np.ndarray]:
        """``(gh, gw, d)`` of each image of one input size; of a batch that does not fit, one half after the other."""
        import torch

        try:
            return self._forward(batch, precision)
        except torch.cuda.OutOfMemoryError:
            half = len(batch) // 2
        torch.cuda.empty_cache()
        if half == 0:
            self._move_to_cpu(batch[0][1])
            return self._forward(batch, precision)
        self._fits = half
        warnings.warn(
            f"embedder {self.settings.name}: {len(batch)} images at a time do not fit into the memory of "
            f"{self.torch_device}; it goes on with {half}",
            stacklevel=2,
        )
        return [*self._grids(batch[:half], precision), *self._grids(batch[half:], precision)]

    def _move_to_cpu(self, plan: InputPlan) -> None:
        warnings.warn(
            f"embedder {self.settings.name}: one image of {plan.input_size[0]} x {plan.input_size[1]} px does not fit "
            f"into the memory of {self.torch_device}; it goes on on the CPU",
            stacklevel=3,
        )
        self.torch_device = choose_device("cpu")
        self._network = self._load_network(self.torch_device)

    def _forward(self, batch: Sequence[tuple[RgbImage, InputPlan]], precision: Precision) -> list[np.ndarray]:
        """``(gh, gw, d)`` of each image of one input size, float32, or float16 where that holds it."""
        import torch

        with torch.inference_mode():
            with exact_kernels():
                inputs = self._inputs(batch)
            with kernels(self.settings.compute, self.torch_device.type):
                grids = self._network(inputs).float().contiguous()
            if precision == "float32":
                return list(_on_host(grids))
            # one pass for the largest value of each image; NaN comes through it, too
            largest = torch.linalg.vector_norm(grids.flatten(1), ord=float("inf"), dim=1).tolist()
            rounded = _on_host(grids.half())
            return [
                half if value < LARGEST_FLOAT16 else _on_host(grids[number])
                for number, (value, half) in enumerate(zip(largest, rounded, strict=True))
            ]

    def _inputs(self, batch: Sequence[tuple[RgbImage, InputPlan]]) -> Any:
        """``(b, 3, h, w)`` float32 on the device: resized in [0, 1], cropped at the top left, normalised."""
        import torch

        if self.torch_device.type == "cpu":  # one image in memory as float32 at a time
            return torch.stack(
                [self._normalised(self._pixels(image)[None], image, plan)[0] for image, plan in batch]
            )
        alike: dict[tuple[Any, ...], list[int]] = {}
        for number, (image, _) in enumerate(batch):
            alike.setdefault((image.shape, image.dtype, image.strides[2] == 0), []).append(number)
        inputs: dict[int, Any] = {}
        for numbers in alike.values():  # images of one size in as few calls as memory allows
            image, plan = batch[numbers[0]]
            at_once = max(1, RESIZED_PIXELS // (image.shape[0] * image.shape[1]))
            for start in range(0, len(numbers), at_once):
                some = numbers[start : start + at_once]
                pixels = torch.stack([self._pixels(batch[number][0]) for number in some])
                inputs |= zip(some, self._normalised(pixels, image, plan), strict=True)
        return torch.stack([inputs[number] for number in range(len(batch))])

    def _normalised(self, pixels: Any, image: RgbImage, plan: InputPlan) -> Any:
        """``(n, 3, h, w)`` of ``(n, c, H, W)`` pixels as they were decoded, all alike ``image``."""
        import torch

        unit = pixels.to(torch.float32) / float(np.iinfo(image.dtype).max)
        if tuple(unit.shape[-2:]) != plan.resized_size:
            unit = torch.nn.functional.interpolate(
                unit, size=plan.resized_size, mode=self.interpolation, align_corners=False, antialias=True
            ).clamp(0, 1)
        height, width = plan.input_size
        mean, std = (
            torch.tensor(values, device=unit.device).view(3, 1, 1)
            for values in (self.settings.mean, self.settings.std)
        )
        return (unit[..., :height, :width] - mean) / std

    def _pixels(self, image: RgbImage) -> Any:
        """The image as it was decoded, on the device: ``(3, H, W)``, or ``(1, H, W)`` where it is grey."""
        import torch

        grey = image.strides[2] == 0  # one channel, shown three times (see ``read_image``)
        channels = image[..., :1] if grey else image
        if channels.dtype == np.uint16:
            channels = channels.astype(np.int32)  # what every version of torch can divide
        if self.torch_device.type != "cuda":
            return torch.from_numpy(np.array(channels.transpose(2, 0, 1), order="C")).to(self.torch_device)
        # page-locked memory is copied while the network is still at the images before
        pinned = torch.empty(channels.shape, dtype=getattr(torch, channels.dtype.name), pin_memory=True)
        np.copyto(pinned.numpy(), channels)
        return pinned.to(self.torch_device, non_blocking=True).permute(2, 0, 1)


def computed_in(settings: EmbedderSettings) -> dict[str, str]:
    """What a recipe says of ``compute``: nothing of float32, which every embedding was of before there was a choice."""
    return {} if settings.compute in (None, "float32") else {"compute": settings.compute}


def _on_host(values: Any) -> np.ndarray:
    """A tensor as an array in the memory of the host; from a GPU by way of page-locked memory, several times faster."""
    if values.device.type != "cuda":
        return values.cpu().numpy()
    import torch

    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values).numpy()  # CUDA only


def ran_on(embedder: object) -> str:
    """Where an embedder's network runs, or ran last: of ``auto`` what it turned out to be.

    Args:
        embedder: a ``TorchEmbedder``, or another object, which may say its ``device``.

    Returns:
        The device's word; ``cpu`` where the embedder says nothing.
    """
    return str(
        embedder.torch_device if isinstance(embedder, TorchEmbedder) else getattr(embedder, "device", "cpu")
    )


def _patch_embedding(grid: np.ndarray, image: RgbImage, plan: InputPlan) -> PatchEmbedding:
    rows, columns, dimension = grid.shape
    patches = np.ascontiguousarray(grid).reshape(rows * columns, dimension)
    return PatchEmbedding(
        patches, (rows, columns), (image.shape[0], image.shape[1]), plan.region, plan.input_size
    )
