"""Copies of pictures in several splits, saved anew or scaled.

They are found by a perceptual hash (pHash of the library ImageHash, on which near pictures differ in few bits), and
then told from other pictures of like parts by their pixels (``same_picture``).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from uad_orchestrator.datasets.checks.remembered import Remember, find_anew
from uad_orchestrator.datasets.checks.same_picture import Likeness, Picture, likeness, read_picture
from uad_orchestrator.datasets.leaks import leak, with_earlier
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest
from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.images.decode import ImageError, read_bytes
from uad_orchestrator.images.file_facts import image_size
from uad_orchestrator.images.header import reason_of
from uad_orchestrator.threads import available_threads

_VERSION = 5
_THUMB, _SMALL = 16, 128
_BITS = 64
"""Of a pHash."""
_HASH_BITS = 16
"""Pictures whose hashes differ in more of them are no copies."""
_BIAS, _NOISE = 1.0, 100.0
"""Mean squared difference that saving makes, in grey values: of means of many pixels, and of a single pixel at most."""
_FIRST, _COMPARED = 2, 6
"""Nearest pictures that are compared first, the original of a copy being among them; and with the next ones."""
_HELD_PIXELS = 96_000_000
"""Of pictures that are compared at the same time: some 2 GB."""
_UNLIKE = Likeness(1e9, 1e9, 1.0)
_TIMES_NEARER = 3
"""Than the next picture: so much more alike is a copy."""


def find_copies(manifest: Manifest, remember: Remember = find_anew) -> list[DatasetProblem]:
    """The images that are copies of one in an earlier split, saved in another format or size. Decodes images.

    Args:
        manifest: what ``load_dataset`` gave.
        remember: keeps what was found out about an image, or two, of the same content.

    Returns:
        A warning for each, or an error where the manifest's ``leaks`` say so, in the manifest's order. Those of
        ``find_exact_copies`` are not among them, nor are files that cannot be read.
    """
    exact = {record.path for record, _ in with_earlier(manifest.records)}
    searched = [r for r in manifest.records if r.split in ("validation", "test") and r.path not in exact]
    if not searched:
        return []
    pictures = _Pictures(manifest, remember)
    with ThreadPoolExecutor(_threads(manifest)) as threads:
        looks = pictures.looks(threads)
        pools = {
            split: _Pool([r for r in manifest.records if r.split in before], looks, pictures)
            for split, before in (("validation", ("train",)), ("test", ("train", "validation")))
        }
        originals = threads.map(lambda record: pools[record.split].original_of(record), searched)
        return [
            leak(manifest, record, "the same picture, saved anew, as", original)
            for record, original in zip(searched, originals, strict=True)
            if original is not None
        ]


def _threads(manifest: Manifest) -> int:
    """As many as hold ``_HELD_PIXELS`` together at the most, by the size of the first image."""
    try:
        height, width = image_size(manifest.file(manifest.records[0].path), manifest.reading)
    except ImageError:  # said elsewhere
        return 1
    return max(1, min(available_threads(), _HELD_PIXELS // (height * width)))


def find_undecodable(manifest: Manifest, remember: Remember = find_anew) -> list[DatasetProblem]:
    """The images whose pixels cannot be read, though their headers may be right: damaged, NaN, outside the range.

    Args:
        manifest: what ``load_dataset`` gave.
        remember: as ``find_copies`` has it: an image is decoded once for both.

    Returns:
        An error for each, in the manifest's order.
    """
    pictures = _Pictures(manifest, remember)

    def fault(record: ImageRecord) -> str:
        try:
            pictures.look(record)
        except ImageError as error:
            return reason_of(error, manifest.file(record.path))
        return ""

    with ThreadPoolExecutor(_threads(manifest)) as threads:
        faults = list(threads.map(fault, manifest.records))
    return [
        DatasetProblem(record.path, message)
        for record, message in zip(manifest.records, faults, strict=True)
        if message
    ]


@dataclass(frozen=True)
class _Look:
    """What a picture is found by.

    Attributes:
        bits: its pHash, ``(64,)`` bool.
        thumb: ``(16, 16)`` float32, grey.
        pixels: how many it has.
    """

    bits: np.ndarray
    thumb: np.ndarray
    pixels: int

    @property
    def moved_by_saving(self) -> float:
        """How far saving may move its thumbnail, as a mean squared difference: means of many pixels hardly move."""
        return _BIAS + _NOISE * _THUMB**2 / self.pixels

    @classmethod
    def of(cls, picture: Picture) -> dict[str, Any]:
        """As JSON."""
        import cv2
        import imagehash
        from PIL import Image

        height, width = picture.colours.shape[:2]
        colours = np.ascontiguousarray(picture.colours)
        if min(height, width) > _SMALL:  # neither needs more, and it is several times faster
            colours = cv2.resize(colours, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
        grey = Picture(colours).grey
        found = imagehash.phash(Image.fromarray(np.rint(grey).astype(np.uint8)))
        thumb = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype("<f4")
        encoded = base64.b64encode(thumb.tobytes()).decode("ascii")
        return {"hash": str(found), "thumb": encoded, "pixels": height * width}

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> _Look:
        import imagehash

        thumb = np.frombuffer(base64.b64decode(known["thumb"]), "<f4")
        return cls(imagehash.hex_to_hash(known["hash"]).hash.ravel(), thumb, known["pixels"])


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a manifest, decoded where nothing is remembered of them."""

    manifest: Manifest
    remember: Remember

    def looks(self, threads: Executor) -> dict[str, _Look]:
        """The looks of all pictures of the three splits, by digest; files that cannot be read have none."""
        splits = ("train", "validation", "test")
        records = {record.digest: record for record in self.manifest.records if record.split in splits}
        found = threads.map(self._look_if_readable, records.values())
        return {digest: look for digest, look in zip(records, found, strict=True) if look is not None}

    def look(self, record: ImageRecord) -> _Look:
        """A picture's look.

        Raises:
            ImageError: its file cannot be read; that is not remembered, a disk may answer again.
        """
        key = f"look-{_VERSION}-{self._read_as}-{record.digest}"
        return _Look.from_json(self.remember(key, lambda: _Look.of(self._read(record))))

    def likeness(self, record: ImageRecord, others: Sequence[ImageRecord]) -> list[Likeness]:
        """Of a picture to each of some others; it is decoded once at most."""
        decoded: list[Picture] = []

        def find(other: ImageRecord) -> dict[str, Any]:
            if not decoded:
                decoded.append(self._read(record))
            return asdict(likeness(self._read(other), decoded[0]))

        return [self._likeness(f"{other.digest}-{record.digest}", partial(find, other)) for other in others]

    def _look_if_readable(self, record: ImageRecord) -> _Look | None:
        try:
            return self.look(record)
        except ImageError:  # ``find_undecodable`` says so
            return None

    def _likeness(self, pair: str, find: Callable[[], dict[str, Any]]) -> Likeness:
        try:
            return Likeness(**self.remember(f"alike-{_VERSION}-{self._read_as}-{pair}", find))
        except ImageError:  # one of the two has gone away meanwhile
            return _UNLIKE

    @property
    def _read_as(self) -> str:
        reading = self.manifest.reading
        return f"{reading.bit_depth}-{reading.value_range}-{reading.alpha}"

    def _read(self, record: ImageRecord) -> Picture:
        path = self.manifest.file(record.path)
        data = read_bytes(path)
        return read_picture(data, str(path), self.manifest.reading)


class _Pool:
    """The pictures among which originals are looked for."""

    def __init__(
        self, records: Sequence[ImageRecord], looks: Mapping[str, _Look], pictures: _Pictures
    ) -> None:
        self.looks = looks
        self.pictures = pictures
        unique = list({record.digest: record for record in reversed(records)}.values())[::-1]
        self.records = [record for record in unique if record.digest in looks]
        known = [looks[record.digest] for record in self.records]
        self.bits = np.array([look.bits for look in known], bool).reshape(-1, _BITS)
        self.thumbs = np.array([look.thumb for look in known], np.float32).reshape(-1, _THUMB**2)

    def original_of(self, record: ImageRecord) -> ImageRecord | None:
        """The picture that a record is a copy of.

        The nearest are compared, those of other hashes too: a copy is not only near, but much nearer than the next.
        """
        look = self.looks.get(record.digest)
        if look is None or not self.records:
            return None
        distances = np.square(self.thumbs - look.thumb).mean(axis=1)
        near = np.count_nonzero(self.bits != look.bits, axis=1) <= _HASH_BITS
        near &= distances <= look.moved_by_saving
        if not near.any():
            return None
        nearest = [self.records[i] for i in np.lexsort((distances, ~near))[:_COMPARED]]
        found = self.pictures.likeness(record, nearest[:_FIRST])
        if not any(alike.may_be_copy for alike in found):
            return None
        found += self.pictures.likeness(record, nearest[_FIRST:])
        order = sorted(range(len(found)), key=lambda i: (not found[i].is_copy, found[i].coarse))
        best = found[order[0]]
        copies = best.is_copy or (best.may_be_copy and _stands_out([found[i].coarse for i in order]))
        return nearest[order[0]] if copies else None


def _stands_out(differences: Sequence[float]) -> bool:
    """Whether the first of rising differences, or the first few alike, is much smaller than the next."""
    limit = _TIMES_NEARER * differences[0]
    return any(later >= _TIMES_NEARER * sooner and sooner <= limit for sooner, later in pairwise(differences))
