"""A line that was recorded: records, pictures and maps of made images, and the folders that they are judged into."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tests.orchestration.workshop import defective_image, normal_image, write_image
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.records.record_files import cell_folder
from uad_orchestrator.postprocess.map_set import write_map
from uad_orchestrator.review.filing import Filing
from uad_orchestrator.storage.digests import file_digest

CATEGORY, DETECTOR = "line7/disc", "patchcore"
MORNING = datetime(2026, 11, 26, 6, 0, tzinfo=UTC)


def record_image(
    records: Path,
    number: int,
    *,
    category: str = CATEGORY,
    detector: str = DETECTOR,
    defective: bool = False,
    seed: int | None = None,
    **changes: object,
) -> LineRecord:
    """Record an image as the line does: a line of a journal, its picture and its map; images differ by their seed."""
    identity = f"{number:032x}"
    when = MORNING + timedelta(minutes=number)
    seed = 300 + number if seed is None else seed
    folder = cell_folder(records, category, detector) / when.date().isoformat()
    picture, anomaly_map = f"pictures/{identity}.png", f"maps/{identity}.tiff"
    image, mask = defective_image(seed)
    write_image(folder / picture, image if defective else normal_image(seed))
    write_map(folder / anomaly_map, np.where(mask > 0, 1.0, 0.1).astype(np.float32))
    record = replace(
        LineRecord.example(),
        id=identity,
        time=when,
        category=category,
        detector=detector,
        image=f"cam-{number}.png",
        digest=file_digest(folder / picture),
        height=64,
        width=64,
        picture=picture,
        anomaly_map=anomaly_map,
    )
    record = replace(record, **changes)
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps(record.to_json()) + "\n")
    return record


def plain_filing(home: Path) -> Filing:
    """The folders of a category with one type of defect, and no image yet."""
    return Filing(
        root=home / "data",
        incoming=home / "arriving/disc",
        test_folder="disc/test",
        type_folders={"scratch": "disc/test/scratch"},
        type_fault=lambda name: "it holds a slash" if "/" in name else None,
    )
