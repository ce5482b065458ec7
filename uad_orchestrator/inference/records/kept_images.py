"""Pictures and anomaly maps of single records, kept within a size: the oldest make room for new ones."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uad_orchestrator.images.header import IMAGE_SUFFIXES
from uad_orchestrator.images.source import ImageFile
from uad_orchestrator.inference.records.record_files import is_day
from uad_orchestrator.postprocess.map_set import write_map
from uad_orchestrator.storage.atomic import new_file
from uad_orchestrator.storage.digests import file_digest

PICTURES, MAPS = "pictures", "maps"

FULL_TO = 0.9
"""The share of the limit down to which old ones are removed, so that not every new one looks through all of them."""

_LOOKS_EVERY = 0.05
"""The share of the limit after which it is looked again what other processes have written."""

_RECORD_ID = re.compile("[0-9a-f]{32}")

_BEGINNINGS = {
    b"\x89PNG": ".png",
    b"\xff\xd8": ".jpg",
    b"BM": ".bmp",
    b"II": ".tif",
    b"MM": ".tif",
    b"RIFF": ".webp",
    b"GIF8": ".gif",
    b"P": ".pnm",
}


def picture_name(record_id: str, image: str, file: ImageFile) -> str:
    """Where a record's picture lies in its day's folder: the file as it came, under a name of ours.

    Args:
        record_id: the record's.
        image: the image's name; its suffix is taken over where it is one of an image.
        file: where it is not, the content says the suffix.
    """
    suffix = Path(image).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        data = file.content if isinstance(file.content, bytes) else b""
        suffix = next((found for begin, found in _BEGINNINGS.items() if data.startswith(begin)), ".png")
    return f"{PICTURES}/{record_id}{suffix}"


def map_name(record_id: str) -> str:
    """Where a record's anomaly map lies in its day's folder: float32 TIFF."""
    return f"{MAPS}/{record_id}.tiff"


@dataclass
class _Kept:
    """What is kept of one record."""

    written: float
    size: int = 0
    files: list[Path] = field(default_factory=list)


class KeptImages:
    """Keeps pictures and maps below a folder of records. One thread uses it; other processes may have their own.

    Args:
        records: the folder of records.
        limit: bytes of all pictures and maps in it.
    """

    def __init__(self, records: Path, limit: int) -> None:
        self.records = records
        self.limit = limit
        self._total: int | None = None
        self._since_look = 0

    def keep_picture(self, path: Path, file: ImageFile) -> None:
        """Keep an image's file as it came.

        Raises:
            OSError: it cannot be written, is larger than all that may be kept, or was replaced meanwhile.
        """
        if isinstance(file.content, bytes):
            self._write(path, file.content)
            return
        self._make_room(file.content.stat().st_size)
        with new_file(path) as aside:
            shutil.copyfile(file.content, aside)
            if file_digest(aside) != file.digest:
                raise OSError(f"{file.content} was replaced before it was kept")

    def keep_map(self, path: Path, anomaly_map: np.ndarray) -> None:
        """Keep an anomaly map ``(H, W)`` as float32 TIFF.

        Raises:
            OSError: it cannot be written, or is larger than all that may be kept.
        """
        encoded = io.BytesIO()
        write_map(encoded, anomaly_map)
        self._write(path, encoded.getvalue())

    def _write(self, path: Path, data: bytes) -> None:
        self._make_room(len(data))
        with new_file(path) as aside:
            aside.write_bytes(data)

    def _make_room(self, size: int) -> None:
        """Count a new file's bytes; where they do not fit, remove the oldest records' pictures and maps."""
        if size > self.limit:
            raise OSError(f"{size} bytes are more than the {self.limit} that are kept (--record-mebibytes)")
        known, self._since_look = self._total, self._since_look + size
        if known is None or known + size > self.limit or self._since_look > _LOOKS_EVERY * self.limit:
            known, self._since_look = self._looked(size), 0
        self._total = known + size

    def _looked(self, size: int) -> int:
        """The bytes that are kept, once there is room for ``size`` more."""
        kept = list(_kept(self.records))
        total = sum(each.size for each in kept)
        if total + size <= self.limit:
            return total
        for each in sorted(kept, key=lambda each: each.written):
            if total + size <= max(self.limit * FULL_TO, size):
                break
            for path in each.files:
                path.unlink(missing_ok=True)
            total -= each.size
        return total


def _kept(records: Path) -> Iterator[_Kept]:
    """What is kept, record by record; what a killed writer left half written, too. Of all else nothing is touched."""
    for day in (path for path in records.glob("*/*/*/*") if is_day(path.name)):
        found: dict[str, _Kept] = {}
        folders = (day / name for name in (PICTURES, MAPS))
        for path in (path for folder in folders if not folder.is_symlink() for path in folder.glob("*")):
            name = path.name.lstrip(".").partition(".")[0]
            if not _RECORD_ID.fullmatch(name):
                continue
            with suppress(FileNotFoundError):  # another process made room
                state = path.stat(follow_symlinks=False)
                one = found.setdefault(name, _Kept(state.st_mtime))
                one.size += state.st_size
                one.files.append(path)
        yield from found.values()
