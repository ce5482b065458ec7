"""What a new normal image must be before any detector looks at it: an image, like the others, and new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.scan import is_image_name
from uad_orchestrator.images.decode import IMAGE_SUFFIXES, ImageError, read_image
from uad_orchestrator.images.file_facts import image_mode, image_size
from uad_orchestrator.images.header import reason_of
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings


@dataclass(frozen=True)
class KnownImages:
    """What a category holds already.

    Attributes:
        digests: SHA-256 (hex) -> path of every image of the category, those it excludes too.
        heights, widths: smallest and largest of the normals, in pixels.
        modes: how their files store pixels, e.g. ``rgb8``.
        reading: how they are read.
    """

    digests: Mapping[str, str]
    heights: tuple[int, int]
    widths: tuple[int, int]
    modes: frozenset[str]
    reading: ReadingSettings = PLAIN_READING

    @classmethod
    def of(cls, manifest: Manifest, digests: Callable[[Path], str]) -> KnownImages:
        """Read the headers of a category's normals."""
        normals = [manifest.file(record.path) for record in (*manifest.train, *manifest.validation)]
        sizes = [image_size(path, manifest.reading) for path in normals]
        heights, widths = ([size[axis] for size in sizes] for axis in (0, 1))
        excluded = {digests(manifest.root / path): path for path in manifest.excluded}
        return cls(
            excluded | {record.digest: record.path for record in manifest.records},
            (min(heights), max(heights)),
            (min(widths), max(widths)),
            frozenset(image_mode(path) for path in normals),
            manifest.reading,
        )


def image_fault(path: Path, digest: str, known: KnownImages) -> str | None:
    """Why an image cannot be taken in as it is, cheapest reason first; None if nothing speaks against it."""
    return unusable(path, digest, known) or unlike_the_others(path, known)


def unusable(path: Path, digest: str, known: KnownImages) -> str | None:
    """What no one can accept: a file that is no image, a damaged one, a copy of an image that is there."""
    if not is_image_name(path.name):
        return f"not an image by its name; expected {', '.join(IMAGE_SUFFIXES)}"
    if digest in known.digests:
        return f"a copy of {known.digests[digest]}"
    try:
        read_image(path, known.reading)
    except ImageError as error:
        return f"cannot be decoded: {reason_of(error, path)}"
    return None


def unlike_the_others(path: Path, known: KnownImages) -> str | None:
    """Another size or mode than the category's normals; where their sizes differ, one outside their range."""
    height, width = image_size(path, known.reading)
    (low, high), (narrow, wide) = known.heights, known.widths
    if not (low <= height <= high and narrow <= width <= wide):
        expected = f"{narrow}x{low}" if (low, narrow) == (high, wide) else f"{narrow}..{wide}x{low}..{high}"
        return f"is {width}x{height} pixels; the category's normals are {expected}"
    mode = image_mode(path)
    if mode not in known.modes:
        return f"is stored as {mode}; the category's normals are {', '.join(sorted(known.modes))}"
    return None
