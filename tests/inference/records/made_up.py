"""Records of a line that was never there, and how they come to lie in files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uad_orchestrator.inference.records.record import LineRecord, record_columns
from uad_orchestrator.inference.records.record_files import cell_folder
from uad_orchestrator.metrics.thresholds.decision import decide


def made_records(
    day: str,
    scores: Iterable[float],
    *,
    threshold: float | None = 1.0,
    review: float | None = None,
    looks: Sequence[dict[str, float]] | None = None,
    series: int = 0,
    **changes: Any,
) -> Iterator[LineRecord]:
    """One record per score, ten seconds apart, decided by the thresholds; those of another series have other ids."""
    start = datetime.fromisoformat(f"{day}T06:00:00+00:00")
    for number, score in enumerate(scores):
        decision = None if threshold is None else decide(score, threshold, review)
        found = {
            "id": sha256(f"{day} {series} {number} {changes.get('model')}".encode()).hexdigest()[:32],
            "time": start + timedelta(seconds=10 * number),
            "score": float(score),
            "threshold": threshold,
            "review_threshold": review,
            "decision": decision,
            "label": None if threshold is None else int(score > threshold),
            "picture": None,
            "anomaly_map": None,
        }
        yield replace(LineRecord.example(), **found | (looks[number] if looks else {}) | changes)


def write_journal(folder: Path, records: Iterable[LineRecord], name: str = "a.jsonl") -> None:
    """The records as a writer leaves them at first, below ``folder``."""
    for record in records:
        place = cell_folder(folder, record.category, record.detector) / record.day
        place.mkdir(parents=True, exist_ok=True)
        with (place / name).open("a") as file:
            file.write(json.dumps(record.to_json()) + "\n")


def write_parquet(folder: Path, records: Sequence[LineRecord], name: str = "a.parquet") -> None:
    """The records of one cell and day as they are kept."""
    first = records[0]
    place = cell_folder(folder, first.category, first.detector) / first.day
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist([vars(record) for record in records], schema=record_columns()), place / name
    )


def usual_scores(parts: int, seed: int = 0) -> np.ndarray:
    """Scores of a line that is as it was calibrated, 0 to 1."""
    return np.random.default_rng(seed).random(parts)
