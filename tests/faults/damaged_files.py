"""Images, weight files and bundles that are damaged: the right result, or an error that names the file."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.faults.damage import DAMAGES, trapped
from tests.faults.outcomes import Outcome
from tests.inference.conftest import fitted_bundle
from tests.inference.test_bundle import rewrite
from tests.orchestration.workshop import defective_image
from uad_orchestrator.embedders.create import create_embedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images import ImageError, read_image
from uad_orchestrator.inference import BundleError, infer, load_bundle, save_bundle

EQUAL, NAMED, UNTOLD = "as undamaged", "named in an error", "differs, which the format cannot tell"
TRAP = "a trap in its place"

IMAGES: dict[str, Callable[[Path, np.ndarray], object]] = {
    "png": lambda path, pixels: Image.fromarray(pixels).save(path),
    "jpg": lambda path, pixels: Image.fromarray(pixels).save(path, quality=95),
    "webp": lambda path, pixels: Image.fromarray(pixels).save(path, lossless=True),
    "bmp": lambda path, pixels: Image.fromarray(pixels).save(path),
    "pgm": lambda path, pixels: Image.fromarray(pixels[..., 0]).save(path),
    "raw.tif": lambda path, pixels: tifffile.imwrite(path, pixels, rowsperstrip=8),
    "deflate.tif": lambda path, pixels: tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=8),
    "16 bit.png": lambda path, pixels: Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path),
}


class Files:
    """Sound files, each made when it is first asked for, and what comes of them.

    Args:
        folder: empty; all is written below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canary = folder / "canary"

    @cached_property
    def images(self) -> dict[str, tuple[bytes, np.ndarray]]:
        """Of each format a file's bytes and the pixels they are read as."""
        pixels, _ = defective_image(7)
        found = {}
        for name, save in IMAGES.items():
            path = self.folder / f"sound.{name}"
            save(path, pixels)
            found[name] = (path.read_bytes(), read_image(path))
        return found

    @cached_property
    def weights(self) -> dict[str, tuple[bytes, np.ndarray]]:
        """Of each format a file's bytes and the embedding they give."""
        import torch
        import torchvision
        from safetensors.torch import save_file

        torch.manual_seed(0)
        whole = torchvision.models.resnet18(weights=None).state_dict()
        part = {name: value for name, value in whole.items() if name.startswith(("conv1", "bn1", "layer1"))}
        torch.save(part, self.folder / "sound.pth")
        save_file(part, self.folder / "sound.safetensors")
        paths = [self.folder / name for name in ("sound.pth", "sound.safetensors")]
        return {path.suffix: (path.read_bytes(), embedding(path)) for path in paths}

    @cached_property
    def bundle(self) -> Path:
        """A bundle's folder."""
        return save_bundle(fitted_bundle(), self.folder / "sound bundle")

    @cached_property
    def score(self) -> float:
        """What the sound bundle says of an image."""
        return inspected(self.bundle)


def embedding(weights: Path) -> np.ndarray:
    """What a network of these weights makes of an image."""
    settings = EmbedderSettings(name="resnet18", weights=str(weights), image_size=64, layers=("layer1",))
    return create_embedder(settings, device="cpu").embed(defective_image(7)[0]).patch_embeddings


def inspected(bundle: Path) -> float:
    """The score of an image by a bundle."""
    (result,) = infer(load_bundle(bundle), [defective_image(7)[0]])
    return result.score


def try_image(files: Files, draws: random.Random, seed: int) -> Outcome:
    """A damaged image file, read."""
    name = draws.choice(sorted(files.images))
    sound, pixels = files.images[name]
    how, data = _damaged(files, sound, draws)
    path = files.folder / f"damaged.{name}"
    path.write_bytes(data)
    what = f"{name}: {how}"
    try:
        read = read_image(path)
    except ImageError as error:
        return _named(what, error, path.name, seed)
    if np.array_equal(read, pixels):
        return Outcome(what, EQUAL, seed)
    silent = name.endswith("png") or (how == "cut" and len(data) < len(sound))
    return Outcome(what, UNTOLD, seed, "other pixels, and not a word" if silent else None)


def try_weights(files: Files, draws: random.Random, seed: int) -> Outcome:
    """A damaged weight file, loaded and used."""
    suffix = draws.choice(sorted(files.weights))
    sound, expected = files.weights[suffix]
    how, data = _damaged(files, sound, draws)
    path = files.folder / f"damaged{suffix}"
    path.write_bytes(data)
    what = f"weights {suffix}: {how}"
    try:
        found = embedding(path)
    except WeightsError as error:
        return _named(what, error, path.name, seed)
    if np.array_equal(found, expected):
        return Outcome(what, EQUAL, seed)
    silent = suffix == ".pth" or not np.isfinite(found).all()
    return Outcome(what, UNTOLD, seed, "other embeddings, and not a word" if silent else None)


def try_bundle(files: Files, draws: random.Random, seed: int) -> Outcome:
    """A bundle one of whose files is damaged, added or gone; a third of the time its digests are put right again."""
    folder = files.folder / "damaged bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(files.bundle, folder)
    victim = draws.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    how, data = _damaged(files, victim.read_bytes(), draws)
    victim.write_bytes(data)
    resealed = victim.name not in ("SHA256SUMS", "bundle.json") and draws.random() < 1 / 3
    if resealed:
        rewrite(folder, lambda values: None)
    what = f"bundle{', digests put right' if resealed else ''}: {how}"
    try:
        score = inspected(folder)
    except BundleError as error:
        return _named(what, error, folder.name, seed)
    if score == files.score:
        return Outcome(what, EQUAL, seed)
    fault = f"another score, and not a word ({victim.name})"
    return Outcome(what, UNTOLD, seed, None if resealed and np.isfinite(score) else fault)


def _damaged(files: Files, sound: bytes, draws: random.Random) -> tuple[str, bytes]:
    how = draws.choice([*DAMAGES, *DAMAGES, TRAP])
    return how, trapped(files.canary) if how == TRAP else DAMAGES[how](sound, draws)


def _named(what: str, error: Exception, name: str, seed: int) -> Outcome:
    """An error of ours; it must say which file."""
    said = str(error)
    return Outcome(what, NAMED, seed, None if name in said else f"the error does not name the file: {said}")
