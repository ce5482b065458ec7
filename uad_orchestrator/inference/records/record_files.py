"""Where records lie: a folder per cell and day, with Parquet files, and journals that are not Parquet yet.

``<records>/<dataset>/<category>/<detector>/<day>/``: days are those of UTC. A journal (``*.jsonl``) is what a writer
has said so far, a record a line; once it is Parquet it is removed, so for a moment a record may be in both.
``pictures`` and ``maps`` beside them have what was kept of single records.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from uad_orchestrator.inference.records.record import LineRecord, record_columns

logger = logging.getLogger(__name__)

_ATTEMPTS = 10


def cell_folder(records: Path, category: str, detector: str) -> Path:
    """The folder of a cell's records.

    Args:
        records: the folder that is recorded to.
        category: ``dataset/category``.
        detector: its name.
    """
    return records / Path(category) / detector


def recorded_cells(records: Path) -> list[tuple[str, str]]:
    """The cells that have records, ``(dataset/category, detector)``, sorted."""
    folders = sorted(
        path for path in records.glob("*/*/*") if path.is_dir() and not path.name.startswith(".")
    )
    return [(f"{path.parent.parent.name}/{path.parent.name}", path.name) for path in folders]


def recorded_days(records: Path, category: str, detector: str) -> list[str]:
    """The days on which a cell has records, ``2026-11-26``, in order."""
    folder = cell_folder(records, category, detector)
    return sorted(path.name for path in folder.iterdir() if is_day(path.name)) if folder.is_dir() else []


def today() -> str:
    """The day that it is in UTC: ``2026-11-26``."""
    return datetime.now(UTC).date().isoformat()


def kept_file(records: Path, record: LineRecord, name: str) -> Path:
    """Where a file lies that was kept of an image: ``record.picture`` or ``record.anomaly_map``.

    Raises:
        ValueError: the name leads out of the day's folder.
    """
    return inside(cell_folder(records, record.category, record.detector) / record.day, name)


def inside(folder: Path, name: str) -> Path:
    """A file that a record or a judgement names: anyone may have written them.

    Args:
        folder: that it has to lie in.
        name: relative to that.

    Raises:
        ValueError: it leads out of the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} leads out of {folder}")
    return path


def read_day(
    records: Path, category: str, detector: str, day: str, *, decisions: Collection[str] | None = None
) -> list[LineRecord]:
    """A cell's records of a day, in order of time; each once.

    A line that a killed writer left half is passed over: its image had no answer yet.

    Args:
        records: the folder that is recorded to.
        category: ``dataset/category``.
        detector: its name.
        day: ``2026-11-26``.
        decisions: only records with one of these; None: all.
    """
    folder = cell_folder(records, category, detector) / day
    for attempt in range(_ATTEMPTS):
        try:
            found = {record.id: record for record in _records_of(folder, decisions)}
            break
        except FileNotFoundError:  # files were merged meanwhile: what was in them is in another one
            if attempt + 1 == _ATTEMPTS:
                raise
    return sorted(found.values(), key=lambda record: (record.time, record.id))


def _records_of(folder: Path, decisions: Collection[str] | None) -> Iterator[LineRecord]:
    import pyarrow.parquet as pq

    # Journals first: one that becomes Parquet between the two looks is then seen twice rather than not at all.
    for path in sorted(folder.glob("*.jsonl")):
        yield from (
            record for record in read_journal(path)[0] if decisions is None or record.decision in decisions
        )
    wanted = None if decisions is None else [("decision", "in", list(decisions))]
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, schema=record_columns(), partitioning=None, filters=wanted)
        for row in table.to_pylist():
            yield LineRecord(**row | {"warnings": tuple(row["warnings"] or ())})


def read_journal(path: Path) -> tuple[list[LineRecord], list[bytes]]:
    """The records of a journal, and its whole lines that are none; nothing of one that is gone, as it became Parquet.

    None of our writers leaves a whole line that is no record: it is passed over, and said.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:  # it became Parquet meanwhile
        return [], []
    records, others = [], []
    for line in lines[:-1]:
        try:
            records.append(LineRecord.from_json(json.loads(line)))
        except (ValueError, TypeError, AttributeError) as error:
            others.append(line)
            if line:  # a full disk may have cut a line, which is then ended
                logger.warning("%s: a line is no record, and is passed over: %s", path, error)
    return records, [line for line in others if line]


def is_day(name: str) -> bool:
    """Whether a folder is called as one of a day, ``2026-11-26``."""
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False
