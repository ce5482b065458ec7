"""One image as the detectors see it: a name for messages, a digest for caches, and a way to read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from uad_orchestrator.images.decode import ImageError, RgbImage, decode_image, read_bytes
from uad_orchestrator.images.file_facts import image_digest, image_size
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.remarks import Remark, encoded_remarks, file_remarks
from uad_orchestrator.images.tiff_bands import TiffBands, can_read_bands
from uad_orchestrator.storage.file_names import printable

_TIFF = (".tif", ".tiff")


class ImageChanged(ImageError):
    """A file no longer holds the bytes that its digest was taken of."""


@dataclass(frozen=True, repr=False)
class ImageFile:
    """The file that an image was read from.

    Attributes:
        digest: SHA-256 (hex) of its bytes.
        content: its bytes; of a large file that is never read at once its path.
    """

    digest: str
    content: bytes | Path

    @classmethod
    def of(cls, data: bytes) -> ImageFile:
        """The file of these bytes."""
        return cls(hashlib.sha256(data).hexdigest(), data)


@dataclass(frozen=True)
class ImageSource:
    """An image that can be read when it is needed, never before.

    Attributes:
        name: what messages and tables call it; for a file of a dataset its path relative to the root.
        digest: SHA-256 (hex) of the image's content; the key under which its embeddings are cached.
        group: images of one physical part share it and are left out of calibration together.
        read: decodes the image to ``(H, W, 3)`` RGB, ``uint8`` or ``uint16``.
        measure: ``(H, W)`` without decoding the image, where that can be had; see ``size``.
        remarks: what reading leaves out of its file, where there is a file.
        scaled: whether somebody said which value is white (``bit_depth``, ``value_range``, an array in 0..1): then its
            depth is as good as another.
        bands: opens it for reading bands of rows; None where it is decoded at once, as nearly all images are.
        file: the file behind it, as it is read; None for an array.
    """

    name: str
    digest: str
    group: str
    read: Callable[[], RgbImage]
    measure: Callable[[], tuple[int, int]] | None = None
    remarks: Callable[[], tuple[Remark, ...]] | None = None
    scaled: bool = False
    bands: Callable[[], TiffBands | None] | None = None
    file: Callable[[], ImageFile] | None = None

    def size(self) -> tuple[int, int]:
        """The image's size: of a file from its header alone.

        Returns:
            ``(H, W)`` in pixels.

        Raises:
            ImageError: the file is missing, or its header is not that of an image.
        """
        if self.measure is not None:
            return self.measure()
        height, width = self.read().shape[:2]
        return height, width

    @classmethod
    def from_path(
        cls,
        path: Path,
        *,
        name: str | None = None,
        digest: str | None = None,
        group: str | None = None,
        reading: ReadingSettings = PLAIN_READING,
    ) -> ImageSource:
        """A source that decodes a file.

        What is read are the bytes of that digest, or ``ImageChanged`` is raised: embeddings are kept under it.

        Args:
            path: the file.
            name: what messages call it; None: its path.
            digest: SHA-256 (hex) of its bytes, where it is known; None: they are read for it.
            group: the physical part it shows; None: its name.
            reading: what the file does not say itself; where it changes pixels, the source's digest is another.

        Returns:
            The source; nothing is decoded yet.

        Raises:
            ImageError: the file cannot be read for its digest.
        """
        name = name or str(path)
        known = digest or image_digest(path)
        return cls(
            name,
            read_digest(known, reading),
            group or name,
            read=lambda: _read_unchanged(path, known, reading),
            measure=lambda: image_size(path, reading),
            remarks=lambda: file_remarks(path, reading),
            scaled=reading.says_white,
            bands=partial(open_bands, path, reading, known),
            file=lambda: ImageFile(known, path),
        )

    @classmethod
    def from_array(
        cls, image: RgbImage, *, name: str, digest: str | None = None, group: str | None = None
    ) -> ImageSource:
        """A source over an RGB array already in memory.

        Args:
            image: ``(H, W, 3)`` RGB, uint8 or uint16; not copied.
            name: what messages call it.
            digest: of its content, where it is known; None: that of shape, dtype and pixels is taken.
            group: the physical part it shows; None: its name.

        Returns:
            The source.
        """
        return cls(name, digest or _pixel_digest(image), group or name, lambda: image)


def encoded_source(data: bytes, name: str, reading: ReadingSettings, digest: str = "") -> ImageSource:
    """A source that decodes a file's bytes, which are in memory already.

    Args:
        data: the bytes of an image file.
        name: what messages call it.
        reading: what the file does not say itself.
        digest: what tells it from other images; "": its name.

    Returns:
        The source; nothing is decoded yet.
    """
    return ImageSource(
        name,
        digest or name,
        name,
        read=lambda: decode_image(data, name, reading),
        remarks=lambda: encoded_remarks(data, name, reading),
        scaled=reading.says_white,
        file=lambda: ImageFile.of(data),
    )


def kept_source(path: Path, reading: ReadingSettings, digest: str) -> ImageSource:
    """A source of a file that is read once, when it is needed: what is decoded are the bytes that ``file`` has.

    Args:
        path: the file; of a large TIFF that is read in bands ``file`` has the path.
        reading: what the file does not say itself.
        digest: what tells it from other images.

    Returns:
        The source; nothing is read yet, and the bytes are kept as long as it is.
    """
    name = str(path)
    data = cache(lambda: read_bytes(path))

    def file() -> ImageFile:
        return ImageFile(image_digest(path), path) if _in_bands(path) else ImageFile.of(data())

    return ImageSource(
        name,
        digest,
        name,
        read=lambda: decode_image(data(), name, reading),
        measure=lambda: image_size(path, reading),
        remarks=lambda: encoded_remarks(data(), name, reading),
        scaled=reading.says_white,
        bands=lambda: open_bands(path, reading, None),
        file=file,
    )


def open_bands(path: Path, reading: ReadingSettings, digest: str | None) -> TiffBands | None:
    """A large TIFF file for reading bands of rows; None for every other file (see ``can_read_bands``)."""
    return TiffBands(path, reading, digest) if _in_bands(path) else None


def _in_bands(path: Path) -> bool:
    return path.suffix.lower() in _TIFF and can_read_bands(path)


def read_digest(digest: str, reading: ReadingSettings) -> str:
    """The digest of what a file's bytes are read as: theirs, unless the settings change pixels.

    >>> read_digest("ab12", ReadingSettings())
    'ab12'
    """
    recipe = reading.recipe()
    if not recipe:
        return digest
    return hashlib.sha256(f"{digest} {json.dumps(recipe, sort_keys=True)}".encode()).hexdigest()


def _read_unchanged(path: Path, digest: str, reading: ReadingSettings) -> RgbImage:
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise ImageChanged(f"{printable(path)} was replaced after it was fingerprinted: read it again")
    return decode_image(data, str(path), reading)


def _pixel_digest(image: RgbImage) -> str:
    pixels = np.ascontiguousarray(image)
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    digest.update(pixels.data)
    return digest.hexdigest()
