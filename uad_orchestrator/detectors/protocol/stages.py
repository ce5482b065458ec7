"""What passes between a detector's stages: fitted state, response, and where the scores' limits come from."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileGrid, TileSource
from uad_orchestrator.metrics.thresholds.operating_point import NO_MAP, OperatingPoint
from uad_orchestrator.storage.array_file import read_arrays, write_arrays
from uad_orchestrator.storage.digests import file_digest

__all__ = ["NO_MAP", "DetectorState", "OperatingPoint", "Response", "fitted_images", "groups_by_digest"]

Made = TypeVar("Made")

_MAKING = threading.RLock()
"""Held while something is made of a state, so that threads that share the state share that, too."""


@dataclass(frozen=True)
class DetectorState:
    """A fitted detector, as plain arrays and facts: what ``memory_bank`` stores and a bundle ships.

    Attributes:
        arrays: named arrays of numbers (no objects), e.g. ``bank`` (n, d) float32.
        facts: JSON values: ``images`` (``fitted_images``), coverage, counts, seeds; ``files``, where there are
            some: their SHA-256 (hex) by name.
        files: where the files lie that belong to it, by name: a trained model's checkpoint.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: Callable[..., Made], *settings: Hashable) -> Made:
        """What ``make`` makes of this state, made when it is first asked for and kept as long as the state is there.

        The index of a memory bank is such a thing: it takes as long to make as a batch takes to be scored.

        Args:
            make: a function or a class, the same object each time, called with the state and the settings; what it
                returns must not refer to the state, which would then outlive its use.
            settings: for others something else is made.

        Returns:
            what it returned the first time, whichever thread asks.
        """
        key = (make, *settings)
        if key not in self._made:
            with _MAKING:
                if key not in self._made:
                    self._made[key] = make(self, *settings)
        return self._made[key]

    def save(self, directory: Path) -> None:
        """Write ``state.npz``, ``state.json`` and the files; no pickle of ours.

        Args:
            directory: is there already.
        """
        for name, path in self.files.items():
            shutil.copyfile(path, directory / name)
        write_arrays(directory / "state.npz", self.arrays)
        (directory / "state.json").write_text(json.dumps(self.facts, indent=1, sort_keys=True))

    def digest(self) -> str:
        """What tells it from every other state.

        Returns:
            SHA-256 (hex) of arrays, facts and files; of the state that is saved and loaded the same.
        """
        found = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(array.reshape(-1).view(np.uint8).data)
        for name in sorted(self.files):
            found.update(f"{name} {file_digest(self.files[name])}".encode())
        return found.hexdigest()

    @classmethod
    def load(cls, directory: Path) -> DetectorState:
        """Read what ``save`` wrote.

        Args:
            directory: where to.

        Returns:
            The same state; its files stay where they are.

        Raises:
            ValueError: a file that ``state.json`` names does not lie in the directory itself.
        """
        arrays = read_arrays(directory / "state.npz")
        facts = json.loads((directory / "state.json").read_text())
        files = {name: directory / name for name in facts.get("files", ())}
        for name, path in files.items():
            if path.name != name or not path.is_file():
                raise ValueError(
                    f"{directory / 'state.json'} names the file {name!r}, which does not lie beside it"
                )
        return cls(arrays, facts, files)


def fitted_images(images: Iterable[ImageSource]) -> list[dict[str, str]]:
    """The fact ``images`` of a state: which images it was fitted on. Calibration never scores them as new.

    Args:
        images: those it was fitted on, in the order of what it learnt from them.

    Returns:
        ``name``, ``digest`` and ``group`` of each; a tile also has ``part_of``, the digest of the image it is cut from.
    """
    return [
        {"name": image.name, "digest": image.digest, "group": image.group}
        | ({"part_of": image.whole.digest} if isinstance(image, TileSource) else {})
        for image in images
    ]


def groups_by_digest(state: DetectorState) -> dict[str, str]:
    """The group of every image a state was fitted on, by its digest: of the whole images, not of their tiles."""
    return {image.get("part_of", image["digest"]): image["group"] for image in state.facts["images"]}


@dataclass(frozen=True)
class Response:
    """A detector's raw answer to one image: everything a score and a map are made of.

    Attributes:
        name: the image's name.
        score: the image score; higher is more anomalous.
        patch_grid: ``(gh, gw)`` float32 patch scores; of a tiled image ``(tiles, gh, gw)``; None where the model
            gives no anomaly map.
        region: the part of the original image, or of each tile, that the grid covers, in pixels.
        original_size: ``(H, W)`` of the image.
        input_size: ``(h, w)`` of the region at the model's input.
        seconds: time this image took, its share of the batch.
        tiles: where the tiles of a tiled image lie on what its preset makes of it, which may be of another size;
            None: the image was inspected whole.
    """

    name: str
    score: float
    patch_grid: np.ndarray | None
    region: Region
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    seconds: float
    tiles: TileGrid | None = None

    @classmethod
    def of(cls, embedded: EmbeddedImage, score: float, patches: np.ndarray, seconds: float) -> Response:
        """The response to an embedded image.

        Args:
            embedded: the image, as the embedding stream gives it.
            score: the image score.
            patches: ``(n,)`` scores of its inspected patches, row by row; of all its patches where its preset has no
                region of interest. The others get the lowest of them.
            seconds: what scoring took, beyond reading and embedding.

        Returns:
            The response, its patch grid ``(gh, gw)`` float32.
        """
        embedding = embedded.embedding
        assert embedding.region is not None and embedding.input_size is not None  # the stream completes them
        return cls(
            name=embedded.source.name,
            score=score,
            patch_grid=embedding.spread(patches).astype(np.float32).reshape(embedding.grid_shape),
            region=embedding.region,
            original_size=embedding.original_size,
            input_size=embedding.input_size,
            seconds=embedded.seconds + seconds,
        )
