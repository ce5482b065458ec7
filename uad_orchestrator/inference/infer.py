"""``infer``: from images to scores, labels, maps and defects, one by one, each in one pass."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.fitted_look import fitted_on
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.detectors.tiled import TiledDetector
from uad_orchestrator.images.decode import ImageError, RgbImage
from uad_orchestrator.images.formats import ImageFormat, iter_sources, sources_from
from uad_orchestrator.images.header import errors_name
from uad_orchestrator.images.look import FittedOn, Look, look_at_bands, tinted
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.remarks import Remark
from uad_orchestrator.images.source import ImageFile, ImageSource
from uad_orchestrator.inference.results import InferenceResult, InferenceTimings
from uad_orchestrator.metrics.thresholds import exceeds
from uad_orchestrator.metrics.thresholds.decision import Decision, decide
from uad_orchestrator.metrics.thresholds.operating_point import NO_MAP, OperatingPoint
from uad_orchestrator.postprocess.regions import find_regions
from uad_orchestrator.threads import ordered_map

if TYPE_CHECKING:
    from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
    from uad_orchestrator.inference.bundle import Bundle

InferenceImages = Iterable[Path | str] | Iterable[np.ndarray] | Iterable[ImageSource] | np.ndarray
"""Paths, arrays of one format (of any sizes), one array of ``n`` images, or sources; a generator is read as
results are taken."""

OnUnreadable = Callable[[ImageSource, ImageError], None]


def infer(  # noqa: PLR0913 - each says one thing to who calls it
    model: Detector | Bundle | Path | str,
    images: InferenceImages,
    *,
    input_format: ImageFormat | str = ImageFormat.RGB_U8_HWC,
    include_maps: bool = True,
    include_images: bool = False,
    include_files: bool = False,
    batch_size: int | None = None,
    on_unreadable: OnUnreadable | None = None,
    reading: ReadingSettings | None = None,
    review_point: OperatingPoint | None = None,
) -> Iterator[InferenceResult]:
    """Score images with a fitted detector; results come one by one, in the images' order.

    An image goes through the embedder once, for score and map, and memory is bounded by a batch.

    Args:
        model: a fitted detector, a bundle, or the folder of one.
        images: see ``InferenceImages``.
        input_format: what arrays are; it has no say over files.
        include_maps: without maps there are no regions either.
        include_images: hand over the decoded images, too.
        include_files: hand over the files' bytes with their digests, and how each image looks, as records have it.
        batch_size: images per forward pass; None: as the detector was created, for a bundle 8. Results of a
            batch come when the batch is through: take 1 where images arrive one at a time.
        on_unreadable: told about each file that cannot be read; the others go on. None: it is raised.
        reading: how files are read; None: as those that a bundle was fitted on, else as they say themselves.
        review_point: the lower threshold, above which a part is for a person to look at; None: that of a bundle, else
            nothing is reviewed.

    Returns:
        An iterator over the results; an image is read when its turn comes.

    Raises:
        RuntimeError: the detector is not fitted.
        BundleError: the bundle cannot be used; says why.
        ImageError: a file cannot be read, or has another bit depth than the images fitted on; names it.
        ValueError: an array is not of ``input_format`` (says which, and what it is), ``batch_size`` < 1, or the score
            of an image is not finite.

    >>> from uad_orchestrator.detectors import create_detector
    >>> normals = np.random.default_rng(0).integers(90, 110, (4, 64, 64, 3), dtype=np.uint8)
    >>> detector = create_detector("vision_patchcore", contamination=0.2).fit(normals)
    >>> white = np.full((64, 64, 3), 255, np.uint8)
    >>> [(result.name, result.label) for result in infer(detector, [normals[0], white])]
    [('images[0]', 0), ('images[1]', 1)]
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it has to be at least 1")
    if isinstance(model, Detector):
        detector, own_reading = model, PLAIN_READING
    else:
        bundle = _open(model)
        detector, own_reading = bundle.detector(), bundle.reading
        review_point = review_point or bundle.calibration.review_point
    if not hasattr(detector, "state_"):
        raise RuntimeError(f"this {type(detector).__name__} is not fitted yet: call fit first")
    reading = reading or own_reading
    sources: Iterable[ImageSource]
    if detector.stream.cache is not None:
        sources = sources_from(images, input_format, reading)  # type: ignore[arg-type]
    else:
        sources = iter_sources(images, input_format, reading, keep_files=include_files)
    wanted = _Wanted(include_maps, include_images, include_files, review_point)
    return _results(detector, sources, wanted, batch_size, on_unreadable)


@dataclass(frozen=True)
class _Wanted:
    maps: bool
    images: bool
    files: bool
    review_point: OperatingPoint | None


@dataclass(frozen=True)
class _Read:
    """An image that is on its way through the detector; None: its tiles are read from the file as they are needed."""

    seconds: float
    image: RgbImage | None
    remarks: tuple[Remark, ...]
    tint: tuple[float, float, float] | None = None
    look: Look | None = None
    file: ImageFile | None = None

    def of(self, source: ImageSource) -> ImageSource:
        """The source with the pixels that are in memory, if they are."""
        image = self.image
        if image is None:
            return source
        digest = source.digest
        if (
            self.tint is not None
        ):  # embeddings are cached by digest, and those of the file as it is are others
            digest = hashlib.sha256(f"{digest} tint {self.tint}".encode()).hexdigest()
        return replace(source, digest=digest, read=lambda: image, measure=None, bands=None)


def _open(model: Bundle | Path | str) -> Bundle:
    from uad_orchestrator.inference.bundle import Bundle
    from uad_orchestrator.inference.bundle_files import load_bundle

    return model if isinstance(model, Bundle) else load_bundle(Path(model))


def _results(
    detector: Detector,
    sources: Iterable[ImageSource],
    wanted: _Wanted,
    batch_size: int | None,
    on_unreadable: OnUnreadable | None,
) -> Iterator[InferenceResult]:
    on_their_way: deque[_Read] = deque()
    with _batches_of(detector, batch_size):
        in_bands = isinstance(detector, TiledDetector) and not wanted.images
        read = partial(_read, usual=fitted_on(detector.state_), in_bands=in_bands, with_file=wanted.files)
        decoded = _decoded(sources, read, on_their_way, on_unreadable, detector.stream)
        for response in detector.respond(detector.state_, decoded):
            yield _result(detector, response, on_their_way.popleft(), wanted)


@contextmanager
def _batches_of(detector: Detector, batch_size: int | None) -> Iterator[None]:
    """The detector's batch size for the time of the block; it changes no number."""
    before = detector.stream.batch_size
    detector.stream.batch_size = batch_size or before
    try:
        yield
    finally:
        detector.stream.batch_size = before


def _decoded(
    sources: Iterable[ImageSource],
    read: Callable[[ImageSource], tuple[ImageSource, _Read | ImageError]],
    on_their_way: deque[_Read],
    on_unreadable: OnUnreadable | None,
    stream: EmbeddingStream,
) -> Iterator[ImageSource]:
    """Sources whose pixels are in memory: read here, so that one that fails does not take its batch along."""
    remaining = iter(sources)
    first = list(islice(remaining, 1))
    on_disk = bool(first) and first[0].measure is not None
    threads, ahead = stream.read_ahead(first[0]) if on_disk else (1, 0)
    for source, found in ordered_map(read, chain(first, remaining), threads=threads, ahead=ahead):
        if isinstance(found, ImageError):
            if on_unreadable is None:
                raise found
            on_unreadable(source, found)
            continue
        on_their_way.append(found)
        yield found.of(source)


def _read(
    source: ImageSource, usual: FittedOn | None, in_bands: bool, with_file: bool
) -> tuple[ImageSource, _Read | ImageError]:
    """The image, held to what the detector was fitted on, where that is known."""
    started = time.perf_counter()
    tint = file = None
    try:
        look = look_at_bands(source) if in_bands else None
        image = source.read() if look is None else None
        remarks = list(source.remarks()) if source.remarks else []
        if image is not None and (usual is not None or with_file):
            look = Look.of(image)
        if with_file and source.file is not None:
            file = source.file()
        if usual is not None:
            assert look is not None  # of the image, or of its bands
            with errors_name(source.name):
                usual.refuse_depth(look, stated=source.scaled)
            if look.channels == 1 and usual.tint is not None:
                image = source.read() if image is None else image  # the look is of its middle alone
                tint = usual.tint_of(image)
                image = image if tint is None else tinted(image, tint)
            remarks += usual.unusual(look, tint)
    except ImageError as error:
        return source, error
    return source, _Read(time.perf_counter() - started, image, tuple(remarks), tint, look, file)


def _result(detector: Detector, response: Response, read: _Read, wanted: _Wanted) -> InferenceResult:
    if not math.isfinite(response.score):
        raise ValueError(f"{response.name}: its score is {response.score}, by which nothing can be decided")
    reasons: dict[str, str] = {}
    label = None
    if math.isnan(detector.threshold_):
        reasons["label"] = detector.image_point_.reason
    else:
        label = int(response.score > detector.threshold_)
    decision, why_none = _decision(detector, response.score, wanted.review_point)
    if why_none:
        reasons["decision"] = why_none
    started = time.perf_counter()
    has_map = response.patch_grid is not None
    anomaly_map = detector.anomaly_map(response) if wanted.maps and has_map else None
    mapped = time.perf_counter()
    mask = regions = None
    if anomaly_map is None:
        reasons["anomaly_map"] = reasons["regions"] = "no maps were asked for" if has_map else NO_MAP
    elif math.isnan(detector.pixel_threshold_):
        reasons["regions"] = detector.pixel_point_.reason
    else:
        mask = exceeds(anomaly_map, detector.pixel_threshold_)
        regions = find_regions(anomaly_map, mask)
    timings = InferenceTimings(
        read=read.seconds,
        respond=response.seconds,
        map=mapped - started,
        regions=time.perf_counter() - mapped,
    )
    image = read.image if wanted.images else None
    return InferenceResult(
        response.name,
        float(response.score),
        label,
        anomaly_map,
        mask,
        regions,
        timings,
        reasons,
        image,
        read.remarks,
        decision,
        read.look,
        read.file,
    )


def _decision(
    detector: Detector, score: float, review_point: OperatingPoint | None
) -> tuple[Decision | None, str]:
    """Pass, review or reject; where nothing is decided, why."""
    found = decide(score, detector.threshold_, None if review_point is None else review_point.threshold)
    if found is not None:
        return found, ""
    return None, detector.image_point_.reason or (review_point.reason if review_point else "")
