"""The normals a model of anomalib is trained on: withheld ones apart, as torch reads them, tiles cut once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.detectors.anomalib.results import unit_float
from uad_orchestrator.detectors.anomalib.settings import TrainSettings
from uad_orchestrator.detectors.anomalib.torch_network import first_transform
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileSource
from uad_orchestrator.storage.atomic import new_file

ReadImage = Callable[[ImageSource], RgbImage]
"""Reads an image and applies the preset to it."""


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


@dataclass(frozen=True)
class NormalImages:
    """A torch data set of normals, as anomalib's models are trained on.

    Attributes:
        images: what is in it: nothing else can reach the Engine.
        prepare: reads an image and applies the preset to it.
        resize: to the model's input size, as when it is scored; None: images go in at their own size.
    """

    images: Sequence[ImageSource]
    prepare: ReadImage
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
def tiles_cut_once(images: Sequence[ImageSource], prepare: ReadImage, folder: Path) -> Iterator[ReadImage]:
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


def loader(
    images: list[ImageSource],
    prepare: ReadImage,
    module: Any,
    settings: TrainSettings,
    *,
    shuffle: bool,
) -> Any:
    """The images in batches, resized as the model wants them."""
    from anomalib.data import ImageBatch
    from torch.utils.data import DataLoader
    from torchvision.transforms.v2 import Resize

    transform = getattr(module.pre_processor, "export_transform", None)
    data: Any = NormalImages(images, prepare, first_transform(transform, Resize))
    return DataLoader(data, settings.batch_size, shuffle=shuffle, collate_fn=ImageBatch.collate)
