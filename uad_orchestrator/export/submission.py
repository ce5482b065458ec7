"""The archive that the evaluation server of MVTec AD 2 takes: the private splits' maps, and their thresholded pixels.

``anomaly_images/<category>/<split>/NNN_{regular,mixed}.tiff`` (float16) and
``anomaly_images_thresholded/<category>/<split>/NNN_{regular,mixed}.png`` (0 or 255), as a ``.tar.gz``.
"""

from __future__ import annotations

import gzip
import io
import math
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from uad_orchestrator.datasets.layouts.published.mvtec_ad2 import CATEGORIES
from uad_orchestrator.datasets.manifest import ImageRecord, Split
from uad_orchestrator.export.category_maps import CategoryMaps, ExportError, Progress
from uad_orchestrator.export.destination import export_file
from uad_orchestrator.metrics.thresholds import exceeds

SUFFIXES: dict[Split, str] = {"test_private": "_regular", "test_private_mixed": "_mixed"}
"""What the names of a split's files end with."""
MAPS, THRESHOLDED = "anomaly_images", "anomaly_images_thresholded"


@dataclass(frozen=True)
class Rescale:
    """``(value - offset) * scale``: one for all maps of a cell, so that their order is kept across images.

    float16 reaches to 65504 and has 11 bits: raw maps may be beyond the one and crowd in the other.
    """

    offset: float
    scale: float

    @classmethod
    def to_unit(cls, low: float, high: float) -> Rescale:
        """What brings low to 0 and high to 1.

        >>> Rescale.to_unit(10.0, 14.0)
        Rescale(offset=10.0, scale=0.25)
        """
        with np.errstate(over="ignore", divide="ignore"):
            scale = float(1 / np.float64(high - low))
        return cls(low, scale if math.isfinite(scale) else 1.0)

    def apply(self, anomaly_map: np.ndarray) -> np.ndarray:
        """``(H, W)`` float16."""
        return ((anomaly_map.astype(np.float64) - self.offset) * self.scale).astype(np.float16)


def write_submission(
    categories: Sequence[CategoryMaps], output: Path, detector: str, progress: Progress | None = None
) -> Path:
    """Write the archive, and ``<output>.uad_export.json`` with rescaling, thresholds, counts and versions.

    A pixel is 255 where its raw value lies above the category's pixel threshold.

    Args:
        categories: all of the dataset.
        output: the ``.tar.gz``; an earlier submission in its place is replaced.
        detector: named in the record.
        progress: called with (category, files written, files in all).

    Returns:
        ``output``.

    Raises:
        ExportError: a published category, a private split, an image's map or a threshold is missing, or two
            images would have one name; names all of them.
        FileExistsError: ``output`` is something else.
    """
    if not output.name.endswith(".tar.gz"):
        raise ExportError(f"{output}: the server takes a .tar.gz; name the archive so")
    faults = [*_missing_categories(categories), *(fault for one in categories for fault in _faults(one))]
    if faults:
        raise ExportError("the submission is not complete:", faults)
    with export_file(output, "submission") as (aside, record):
        record |= {"dataset": categories[0].manifest.dataset, "detector": detector, "categories": {}}
        with _archive(aside) as archive:
            for one in categories:
                record["categories"][one.manifest.category] = _add_category(archive, one, progress)
    return output


def _missing_categories(categories: Sequence[CategoryMaps]) -> Iterator[str]:
    there = {one.manifest.category for one in categories}
    for name in CATEGORIES:
        if name not in there:
            yield f"{name}: the category is missing; the server evaluates all {len(CATEGORIES)}"


def _faults(one: CategoryMaps) -> Iterator[str]:
    category = one.manifest.category
    if math.isnan(one.pixel_point.threshold):
        yield f"{category}: no pixel threshold: {one.pixel_point.source.removeprefix('none: ')}"
    for split in SUFFIXES:
        records = one.manifest.select(split)
        if not records:
            yield f"{category}/{split}: no images; expected the private split as published"
        yield from one.missing(records)
        taken: dict[str, str] = {}
        for record in records:
            first = taken.setdefault(_name(record), record.path)
            if first != record.path:
                yield f"{record.path}: would be called {_name(record)} like {first}"


def _add_category(
    archive: tarfile.TarFile, one: CategoryMaps, progress: Progress | None
) -> dict[str, object]:
    """Add a category's files; returns its part of the record."""
    records = [record for split in SUFFIXES for record in one.manifest.select(split)]
    category = one.manifest.category
    rescale = _rescale_of(one, records)
    threshold = one.pixel_point.threshold
    for done, record in enumerate(records, 1):
        made = _read(one, record)
        place = f"{category}/{record.split}/{_name(record)}"
        _add(archive, f"{MAPS}/{place}.tiff", _tiff(rescale.apply(made)))
        _add(archive, f"{THRESHOLDED}/{place}.png", _png(exceeds(made, threshold)))
        if progress:
            progress(category, done, len(records))
    return {
        "images": {split: len(one.manifest.select(split)) for split in SUFFIXES},
        "rescale": asdict(rescale),
        "pixel_threshold": threshold,
        "pixel_threshold_source": one.pixel_point.source,
        "anomaly_maps": one.version,
    }


def _rescale_of(one: CategoryMaps, records: Sequence[ImageRecord]) -> Rescale:
    low, high = math.inf, -math.inf
    for record in records:
        made = _read(one, record)
        low, high = min(low, float(made.min())), max(high, float(made.max()))
    return Rescale.to_unit(low, high)


def _read(one: CategoryMaps, record: ImageRecord) -> np.ndarray:
    import tifffile

    return np.asarray(tifffile.imread(one.path(record)), dtype=np.float32)


def _name(record: ImageRecord) -> str:
    """``NNN_regular`` or ``NNN_mixed``: as published files are called, and the server's are."""
    stem, suffix = PurePosixPath(record.path).stem, SUFFIXES[record.split]
    return stem if stem.endswith(suffix) else stem + suffix


def _tiff(pixels: np.ndarray) -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels)
    return stream.getvalue()


def _png(called: np.ndarray) -> bytes:
    import cv2

    written, data = cv2.imencode(".png", called.astype(np.uint8) * 255)
    if not written:
        raise ExportError(f"a mask of {called.shape} could not be written as PNG")
    return data.tobytes()


@contextmanager
def _archive(path: Path) -> Iterator[tarfile.TarFile]:
    """A .tar.gz without a clock in it: the same maps make the same archive."""
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        yield archive


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))
