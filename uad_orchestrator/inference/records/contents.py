"""What a day's records hold, as a digest; and whether its files changed, without reading them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.records.record_files import cell_folder


def content_digest(records: Iterable[LineRecord]) -> str:
    """A digest of records, whatever their order and whichever files they lie in.

    Args:
        records: each once.

    Returns:
        SHA-256 (hex).
    """
    lines = sorted(json.dumps(record.to_json(), sort_keys=True) for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def day_stamp(records: Path, category: str, detector: str, day: str) -> str:
    """What the files of a day look like from outside: other records, another stamp.

    Args:
        records: the folder that is recorded to.
        category: ``dataset/category``.
        detector: its name.
        day: ``2026-11-26``.

    Returns:
        16 hex digits of the names, sizes and times of its record files; of a day without any they are "".
    """
    files = []
    with suppress(FileNotFoundError), os.scandir(cell_folder(records, category, detector) / day) as entries:
        for entry in entries:
            if entry.name.endswith((".jsonl", ".parquet")):
                with suppress(FileNotFoundError):  # a journal that became Parquet meanwhile
                    about = entry.stat()
                    files.append((entry.name, about.st_size, about.st_mtime_ns))
    return hashlib.sha256(repr(sorted(files)).encode()).hexdigest()[:16] if files else ""
