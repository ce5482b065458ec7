"""Trains a model of anomalib with its Engine, on normal images alone."""

from __future__ import annotations

import gc
import logging
import random
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.detectors.anomalib.fetching import nothing_fetched
from uad_orchestrator.detectors.anomalib.names import FETCHES, NO_TRAINING, detector_name
from uad_orchestrator.detectors.anomalib.settings import TRAINING_LOG, TrainSettings
from uad_orchestrator.detectors.anomalib.torch_network import model_class
from uad_orchestrator.detectors.anomalib.training.normal_images import (
    ReadImage,
    loader,
    split_normals,
    tiles_cut_once,
)
from uad_orchestrator.detectors.anomalib.training.progress import (
    left_behind,
    read_curves,
    thinned,
    whole_checkpoints,
    write_log,
)
from uad_orchestrator.embedders.torch_device import choose_device
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.source import ImageSource

logger = logging.getLogger(__name__)

CHECKPOINT = "model.ckpt"
CHATTY = (
    "anomalib",
    "lightning.pytorch",
    "lightning.pytorch.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
)
"""Loggers that speak to whoever trains by hand."""

COMPONENTS = ("self", "pre_processor", "post_processor", "evaluator", "visualizer")
"""Parameters of anomalib's model classes that are no plain values."""


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        fitted, withheld: the normals it was trained on, and those that were kept from it.
        files: the checkpoint and the log, by name.
        facts: epochs, curves, versions.
        device: where it was trained.
    """

    fitted: list[ImageSource]
    withheld: list[ImageSource]
    files: dict[str, Path]
    facts: dict[str, Any]
    device: str


def train(
    network: str,
    images: Sequence[ImageSource],
    settings: TrainSettings,
    prepare: ReadImage,
    device: str,
    folder: Path,
) -> Training:
    """Train a model, or go on with a training that was cut off.

    Args:
        network: the model's folder name in anomalib.
        images: training normals; a part of them is withheld for validation.
        settings: epochs, batch size, the model's own arguments.
        prepare: reads an image and applies the preset to it.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        folder: keeps a checkpoint after each epoch. It belongs to this training alone: same images, same
            settings. A training finds what an earlier one, killed, left there.

    Raises:
        ValueError: too few normals; an argument the model does not have; a model that cannot be trained here.
        WeightsError: its backbone's weights are not on this machine.
        ImportError: anomalib is not installed.
    """
    if network in NO_TRAINING:
        raise ValueError(f"{detector_name(network)} cannot be trained here: {NO_TRAINING[network]}")
    if network in FETCHES and not settings.download:
        raise ValueError(
            f"training {detector_name(network)} fetches {FETCHES[network]}: `train: {{download: true}}` allows it"
        )
    fitted, withheld = split_normals(images, settings.withheld, settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    resumed = left_behind(folder / CHECKPOINT)
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if not settings.download:
            stack.enter_context(nothing_fetched())
        read = stack.enter_context(tiles_cut_once(images, prepare, folder / "tiles"))
        chosen, used, epochs = _fit_within_memory(
            network, settings, choose_device(device), folder, (fitted, withheld), read
        )
    curves = read_curves(folder)
    write_log(curves, folder / TRAINING_LOG)
    return Training(
        fitted,
        withheld,
        files={CHECKPOINT: folder / CHECKPOINT, TRAINING_LOG: folder / TRAINING_LOG},
        facts={
            "epochs": epochs,
            "resumed": resumed is not None,
            "train_images": len(fitted),
            "withheld_images": len(withheld),
            "seed": settings.seed,
            **({} if used == settings else {"batch_size": used.batch_size}),
            "anomalib": version("anomalib"),
            "curves": {name: thinned(points) for name, points in curves.items()},
            **{f"final_{name}": points[-1][1] for name, points in curves.items()},
        },
        device=str(chosen),
    )


def _fit_within_memory(
    network: str,
    settings: TrainSettings,
    device: Any,
    folder: Path,
    images: tuple[list[ImageSource], list[ImageSource]],
    read: ReadImage,
) -> tuple[Any, TrainSettings, int]:
    """Train, in smaller batches where the device's memory asks for it, at last on the CPU.

    Args:
        images: to train on, and withheld.

    Returns:
        the device and the settings it was trained with, and the epochs.
    """
    import torch

    *others, last = _attempts(settings, device)
    for (tried, smaller), (following, then) in pairwise((*others, last)):
        try:
            return tried, smaller, _fit(network, smaller, tried, folder, images, read)
        except torch.OutOfMemoryError:
            logger.warning(
                "%s has no memory to train %s in batches of %d: trying batches of %d on %s",
                tried,
                detector_name(network),
                smaller.batch_size,
                then.batch_size,
                following,
            )
        gc.collect()  # Lightning's circles hold on to what is on the device
    return (*last, _fit(network, last[1], last[0], folder, images, read))


def _attempts(settings: TrainSettings, device: Any) -> list[tuple[Any, TrainSettings]]:
    """Where to train, and how: half the batch each time, then the CPU, where memory is not so scarce."""
    import torch

    if device.type == "cpu":
        return [(device, settings)]
    sizes = [settings.batch_size]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    on_device = [(device, settings.model_copy(update={"batch_size": size})) for size in sizes]
    return [*on_device, (torch.device("cpu"), settings)]


def _build(network: str, settings: TrainSettings) -> Any:
    """The untrained model, with the arguments the settings give."""
    wanted = model_class(network)
    known = [name for name in signature(wanted).parameters if name not in COMPONENTS]
    for name in settings.model:
        if name not in known:
            raise ValueError(f"train.model: {wanted.__name__} has no argument {name!r}; it has {known}")
    arguments: dict[str, Any] = dict(settings.model)
    if settings.image_size is not None:
        size = settings.image_size
        side = (size, size) if isinstance(size, int) else size
        arguments["pre_processor"] = wanted.configure_pre_processor(image_size=side)
    try:
        return wanted(**arguments, evaluator=False, visualizer=False)
    except OSError as error:
        raise WeightsError(
            f"{detector_name(network)}: the weights of its backbone are not on this machine ({error}). Put them into "
            "the hub's local cache, allow `train: {download: true}`, or, where the model has the argument, take "
            "untrained ones by name: `train: {model: {pre_trained: false}}`"
        ) from error


def _engine(settings: TrainSettings, device: Any, folder: Path) -> Any:
    from anomalib.callbacks.checkpoint import ModelCheckpoint
    from anomalib.engine import Engine
    from lightning.pytorch.loggers import CSVLogger

    kept = ModelCheckpoint(
        dirpath=folder, filename=Path(CHECKPOINT).stem, every_n_epochs=1, enable_version_counter=False
    )
    return Engine(
        callbacks=[kept],
        plugins=[whole_checkpoints()],
        logger=CSVLogger(folder, name="log"),
        default_root_dir=folder / "engine",
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=1 if device.index is None else [device.index],
        max_epochs=settings.max_epochs,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _fit(
    network: str,
    settings: TrainSettings,
    device: Any,
    folder: Path,
    images: tuple[list[ImageSource], list[ImageSource]],
    read: ReadImage,
) -> int:
    """Train on one device, from the checkpoint in the folder if there is one; returns the epochs."""
    with _seeded(settings.seed):
        module, engine = _build(network, settings), _engine(settings, device, folder)
        fitted, withheld = images
        training = loader(fitted, read, module, settings, shuffle=True)
        validation = loader(withheld, read, module, settings, shuffle=False)
        with _interruptible():
            engine.fit(module, training, validation, ckpt_path=left_behind(folder / CHECKPOINT))
    return int(engine.trainer.current_epoch)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning ends the process on Ctrl-C, and leaves it deaf to the next: make an interrupt of it again."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from ended


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Everything random starts from the seed, and the process goes on as it was."""
    import torch
    from lightning.pytorch.utilities.seed import isolate_rng

    with isolate_rng():
        random.seed(seed)
        np.random.seed(seed)  # the one that anomalib draws from
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's and anomalib's advice is of no use here."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
