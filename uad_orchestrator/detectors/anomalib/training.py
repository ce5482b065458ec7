"""Trains a model of anomalib with its Engine, on normal images alone."""

from __future__ import annotations

import logging
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.detectors.anomalib.fetching import nothing_fetched
from uad_orchestrator.detectors.anomalib.names import FETCHES, NO_TRAINING, detector_name
from uad_orchestrator.detectors.anomalib.progress import (
    left_behind,
    read_curves,
    thinned,
    whole_checkpoints,
    write_log,
)
from uad_orchestrator.detectors.anomalib.results import unit_float
from uad_orchestrator.detectors.anomalib.settings import TRAINING_LOG, TrainSettings
from uad_orchestrator.detectors.anomalib.torch_network import first_transform, model_class
from uad_orchestrator.embedders.torch_embedder import choose_device
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileSource
from uad_orchestrator.storage.atomic import new_file

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


def split_normals(
    images: Sequence[ImageSource], share: float, seed: int
) -> tuple[list[ImageSource], list[ImageSource]]:
    """Withhold at least ``share`` of the normals, whole groups at a time, chosen by ``seed``.

    Returns:
        those to train on, those withheld; both in the order given.

    Raises:
        ValueError: there are fewer than two groups, so that one of the two would be empty.
    """
    groups = sorted({image.group for image in images})
    if len(groups) < 2:
        raise ValueError(
            f"training needs normals of at least two parts, one to train on and one to calibrate on; here are "
            f"{len(images)} images of {len(groups)}"
        )
    withheld: set[str] = set()
    for index in np.random.default_rng(seed).permutation(len(groups))[:-1]:
        if sum(image.group in withheld for image in images) >= share * len(images):
            break
        withheld.add(groups[index])
    return (
        [image for image in images if image.group not in withheld],
        [image for image in images if image.group in withheld],
    )


def train(
    network: str,
    images: Sequence[ImageSource],
    settings: TrainSettings,
    prepare: Callable[[ImageSource], RgbImage],
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
    with ExitStack() as stack:
        stack.enter_context(_seeded(settings.seed))
        stack.enter_context(_quiet())
        if not settings.download:
            stack.enter_context(nothing_fetched())
        module = _build(network, settings)
        chosen = choose_device(device)
        engine = _engine(settings, chosen, folder)
        resumed = left_behind(folder / CHECKPOINT)
        read = stack.enter_context(_tiles_cut_once(images, prepare, folder / "tiles"))
        training = _loader(fitted, read, module, settings, shuffle=True)
        _fit(engine, module, training, _loader(withheld, read, module, settings, shuffle=False), resumed)
    curves = read_curves(folder)
    write_log(curves, folder / TRAINING_LOG)
    return Training(
        fitted,
        withheld,
        files={CHECKPOINT: folder / CHECKPOINT, TRAINING_LOG: folder / TRAINING_LOG},
        facts={
            "epochs": int(engine.trainer.current_epoch),
            "resumed": resumed is not None,
            "train_images": len(fitted),
            "withheld_images": len(withheld),
            "seed": settings.seed,
            "anomalib": version("anomalib"),
            "curves": {name: thinned(points) for name, points in curves.items()},
            **{f"final_{name}": points[-1][1] for name, points in curves.items()},
        },
        device=str(chosen),
    )


@dataclass(frozen=True)
class NormalImages:
    """A torch data set of normals, as anomalib's models are trained on.

    Attributes:
        images: what is in it: nothing else can reach the Engine.
        prepare: reads an image and applies the preset to it.
        resize: to the model's input size, as when it is scored; None: images go in at their own size.
    """

    images: Sequence[ImageSource]
    prepare: Callable[[ImageSource], RgbImage]
    resize: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        import torch
        from anomalib.data import ImageItem

        source = self.images[index]
        pixels = torch.from_numpy(unit_float(self.prepare(source))).permute(2, 0, 1)
        pixels = pixels if self.resize is None else self.resize(pixels)
        return ImageItem(image=pixels, gt_label=torch.tensor(0), image_path=source.name)


@contextmanager
def _tiles_cut_once(
    images: Sequence[ImageSource], prepare: Callable[[ImageSource], RgbImage], folder: Path
) -> Iterator[Callable[[ImageSource], RgbImage]]:
    """A way to read images that has tiles on disk, in ``folder``, as long as this lasts.

    They are cut image by image before the training begins. In a training's order the whole image would be decoded
    for each of its tiles, in each epoch.
    """
    tiles = [image for image in images if isinstance(image, TileSource)]
    if not tiles:
        yield prepare
        return
    for tile in tiles:
        if not (kept := folder / f"{tile.digest}.npy").is_file():
            with new_file(kept, alone=True) as aside, aside.open("wb") as file:
                np.save(file, prepare(tile), allow_pickle=False)
    yield lambda tile: np.load(folder / f"{tile.digest}.npy", allow_pickle=False)
    shutil.rmtree(folder)  # not where the training was cut off: the next one goes on with them


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


def _loader(
    images: list[ImageSource],
    prepare: Callable[[ImageSource], RgbImage],
    module: Any,
    settings: TrainSettings,
    shuffle: bool,
) -> Any:
    from anomalib.data import ImageBatch
    from torch.utils.data import DataLoader
    from torchvision.transforms.v2 import Resize

    transform = getattr(module.pre_processor, "export_transform", None)
    data: Any = NormalImages(images, prepare, first_transform(transform, Resize))
    return DataLoader(data, settings.batch_size, shuffle=shuffle, collate_fn=ImageBatch.collate)


def _fit(engine: Any, module: Any, training: Any, validation: Any, resumed: Path | None) -> None:
    """Lightning ends the process on Ctrl-C, and leaves it deaf to the next: make an interrupt of it again."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        engine.fit(module, training, validation, ckpt_path=resumed)
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
