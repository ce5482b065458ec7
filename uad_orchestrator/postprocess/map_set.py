"""An anomaly-map set: a float32 TIFF per test image, in the tree that MVTec's evaluators read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np


def write_map(target: Path | BinaryIO, anomaly_map: np.ndarray) -> None:
    """Write a map as a float32 TIFF, deflated.

    Args:
        target: a file, whose folder is made, or an open stream.
        anomaly_map: ``(H, W)``.
    """
    import tifffile

    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
    # level 1: maps are smooth, higher levels cost ten times the time for a few per cent
    pixels = np.asarray(anomaly_map, dtype=np.float32)
    # one worker: maps are written and read in threads already
    tifffile.imwrite(target, pixels, compression="zlib", compressionargs={"level": 1}, maxworkers=1)


def read_map(path: Path) -> np.ndarray:
    """A map as ``write_map`` wrote it.

    Returns:
        ``(H, W)`` float32.

    Raises:
        OSError: there is none, or it cannot be read.
        tifffile.TiffFileError: it is no TIFF.
    """
    import tifffile

    return np.asarray(tifffile.imread(path, maxworkers=1), dtype=np.float32)


_BACKSLASH = "%5c"
"""How a backslash, which some systems take for the end of a folder, stands in the name of a map."""


class MapSet:
    """The maps of one cell: ``<root>/<folder>/<stem>.tiff``, float32, deflate, each at its image's size.

    The folder is the image's defect type; of an image without a label its split, e.g. ``test_private``.

    Args:
        root: the folder of the set; made when the first map is written.
        names: what stands in the place of the stem, by image, where images of a folder share theirs.
    """

    def __init__(self, root: Path, names: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.names = names or {}

    def path(self, image: str, folder: str) -> Path:
        """Where the map of an image lies.

        Args:
            image: its path or name in the dataset.
            folder: its defect type, or its split where it has no label.

        Returns:
            The TIFF's path, whether it is there or not.

        Raises:
            ValueError: the image's stem or the folder cannot name a file.
        """
        stem = self.names.get(image) or PurePosixPath(image).stem
        for part in (folder, stem):
            if part in ("", ".", "..") or any(c in part for c in "/\0"):
                raise ValueError(f"{image}: {part!r} cannot be the name of a map's folder or file")
        folder, stem = (part.replace("\\", _BACKSLASH) for part in (folder, stem))
        return self.root / folder / f"{stem}.tiff"

    def write(self, image: str, folder: str, anomaly_map: np.ndarray) -> Path:
        """Write one map.

        Args:
            image: the image's path or name in the dataset.
            folder: its defect type, or its split where it has no label.
            anomaly_map: ``(H, W)``, finite.

        Returns:
            The file's path.

        Raises:
            ValueError: not finite, not two-dimensional, or a map of that name is there already (two images of
                one folder that share their stem); names the image.
        """
        anomaly_map = np.asarray(anomaly_map, dtype=np.float32)
        if anomaly_map.ndim != 2 or not np.isfinite(anomaly_map).all():
            raise ValueError(
                f"{image}: an anomaly map is (H, W) and finite, not {anomaly_map.shape} with NaN or infinity"
            )
        path = self.path(image, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                write_map(file, anomaly_map)
        except FileExistsError as error:
            raise ValueError(
                f"{image}: {path} is there already; images of one folder need different stems"
            ) from error
        return path

    def read(self, image: str, folder: str) -> np.ndarray:
        """The map of an image.

        Args:
            image: the image's path or name in the dataset.
            folder: its defect type, or its split where it has no label.

        Returns:
            ``(H, W)`` float32.

        Raises:
            FileNotFoundError: there is none; names image and file.
        """
        path = self.path(image, folder)
        if not path.exists():
            raise FileNotFoundError(f"{image}: no anomaly map at {path}")
        return read_map(path)

    def paths(self) -> Iterator[Path]:
        """All maps of the set.

        Returns:
            An iterator over their files, sorted.
        """
        return iter(sorted(self.root.glob("*/*.tiff")))


PIXELS_AT_ONCE = 1 << 16
"""Of a map, taken as float64: they stay in the processor's cache."""


@dataclass(frozen=True)
class PixelMoments:
    """What statistics of many maps need of some pixels.

    Attributes:
        count: how many.
        mean: of them.
        squares: sum of the squares about their mean.
        minimum, maximum: the least and the largest.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf

    @classmethod
    def of(cls, anomaly_map: np.ndarray) -> PixelMoments:
        """The moments of a map ``(H, W)``, in float64."""
        pixels = np.asarray(anomaly_map).ravel()
        moments, values = cls(), np.empty(min(pixels.size, PIXELS_AT_ONCE))
        for start in range(0, pixels.size, PIXELS_AT_ONCE):
            some = pixels[start : start + PIXELS_AT_ONCE]
            from_mean = values[: some.size]
            from_mean[:] = some
            mean = float(np.add.reduce(from_mean)) / some.size
            from_mean -= mean
            squares = float(np.einsum("i,i->", from_mean, from_mean))  # BLAS would add up by its own threads
            moments += cls(some.size, mean, squares, float(some.min()), float(some.max()))
        return moments

    def __add__(self, other: PixelMoments) -> PixelMoments:
        """The moments of both."""
        count, step = self.count + other.count, other.mean - self.mean
        # Chan, Golub, LeVeque: squares about the common mean, without the loss of digits of E[x^2] - E[x]^2
        return PixelMoments(
            count,
            self.mean + step * other.count / count,
            self.squares + other.squares + step**2 * self.count * other.count / count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )


@dataclass
class NormalMapStatistics:
    """What the maps of normal images are like, taken one map at a time.

    Attributes:
        maxima: the largest value of each map: what the pixel threshold is taken from.
    """

    maxima: list[float] = field(default_factory=list)
    _pixels: PixelMoments = field(default_factory=PixelMoments)

    def update(self, anomaly_map: np.ndarray) -> None:
        """Add one map.

        Args:
            anomaly_map: ``(H, W)``, of a normal image.
        """
        self.add(PixelMoments.of(anomaly_map))

    def add(self, moments: PixelMoments) -> None:
        """Add one map by its moments.

        Args:
            moments: those of a normal image's map.
        """
        self._pixels += moments
        self.maxima.append(moments.maximum)

    def summary(self) -> dict[str, float | int | None]:
        """The statistics of all maps added so far.

        Returns:
            ``maps`` (how many), pixel ``mean``, ``std``, ``min``, ``max``, and quantiles of the maps' maxima,
            ``maxima_p50`` to ``maxima_p99``; all but the first None without maps.
        """
        names = ("mean", "std", "min", "max", "maxima_p50", "maxima_p90", "maxima_p95", "maxima_p99")
        if not self.maxima:
            return {"maps": 0, **dict.fromkeys(names)}
        p50, p90, p95, p99 = np.quantile(self.maxima, [0.5, 0.9, 0.95, 0.99])
        pixels = self._pixels
        spread = float(np.sqrt(pixels.squares / pixels.count))
        values = (pixels.mean, spread, pixels.minimum, max(self.maxima), *map(float, (p50, p90, p95, p99)))
        return {"maps": len(self.maxima), **dict(zip(names, values, strict=True))}
