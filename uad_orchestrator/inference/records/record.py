"""One image that the line saw, and the Parquet columns of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from uad_orchestrator.metrics.thresholds.decision import Decision

if TYPE_CHECKING:
    import pyarrow as pa

RECORD_SCHEMA = 1
"""Of the columns; it stands in the metadata of every file, and goes up where a column changes its meaning."""


LOOKS = ("brightness", "sharpness", "red", "green", "blue")
"""The columns of a part's look."""

STOPPED: tuple[Decision, ...] = ("review", "reject")
"""Of these parts pictures and maps are kept, and a person judges them."""


@dataclass(frozen=True)
class LineRecord:
    """What was found of one image on the line.

    Attributes:
        id: 32 hex digits, of this record alone.
        time: when its result was there; UTC.
        category, detector: the cell that the bundle was made of, ``line7/housing`` and ``patchcore``.
        model: digest (hex) of the fitted state: another after every recalibration.
        image: the image's name, as it was handed in.
        digest: SHA-256 (hex) of the file's bytes.
        score: the image score.
        threshold, review_threshold: what it was held to; None where there is none.
        label: 1 anomalous, 0 not; None without a threshold.
        decision: ``pass``, ``review`` or ``reject``; None without a threshold.
        seconds: from reading to regions.
        height, width: of the image, in pixels.
        brightness, sharpness, red, green, blue: its look (``images.look.Look``); None where none could be taken.
        warnings: what speaks against trusting the result.
        picture, anomaly_map: files that were kept of it, relative to its day's folder; None: not kept.

    >>> LineRecord.from_json(LineRecord.example().to_json()) == LineRecord.example()
    True
    """

    id: str
    time: datetime
    category: str
    detector: str
    model: str
    image: str
    digest: str
    score: float
    threshold: float | None
    review_threshold: float | None
    label: int | None
    decision: Decision | None
    seconds: float
    height: int
    width: int
    brightness: float | None
    sharpness: float | None
    red: float | None
    green: float | None
    blue: float | None
    warnings: tuple[str, ...] = ()
    picture: str | None = None
    anomaly_map: str | None = None

    @property
    def day(self) -> str:
        """The day it belongs to, in UTC: ``2026-11-26``."""
        return self.time.astimezone(UTC).date().isoformat()

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the time in ISO 8601: what is sent out, too."""
        return asdict(self) | {"time": self.time.astimezone(UTC).isoformat(), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LineRecord:
        """From ``to_json``; what a later version added is passed over.

        Raises:
            ValueError: a column is missing, or is not what it should be: numbers are finite, times have a zone.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        found = _record_type().validate_python(known)
        if found.time.tzinfo is None:
            raise ValueError("its time has no zone")
        for name in ("score", "threshold", "review_threshold", "seconds", *LOOKS):
            if (value := getattr(found, name)) is not None and not math.isfinite(value):
                raise ValueError(f"its {name} is {value}")
        if not (0 < found.height < 2**31 and 0 < found.width < 2**31):
            raise ValueError(f"its size is {found.height} x {found.width}")
        return found

    @classmethod
    def example(cls) -> LineRecord:
        """A record as documentation shows it."""
        return cls(
            id="0b0f7e3b6d3f4d0c9c1a5d8e2f4a6b7c",
            time=datetime(2026, 11, 26, 6, 0, 0, 250_000, UTC),
            category="line7/housing",
            detector="patchcore",
            model="5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
            image="cam2-000917.png",
            digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            score=0.731,
            threshold=0.642,
            review_threshold=0.598,
            label=1,
            decision="reject",
            seconds=0.083,
            height=1024,
            width=1024,
            brightness=0.412,
            sharpness=0.187,
            red=0.431,
            green=0.412,
            blue=0.393,
            warnings=(),
            picture="pictures/0b0f7e3b6d3f4d0c9c1a5d8e2f4a6b7c.png",
            anomaly_map="maps/0b0f7e3b6d3f4d0c9c1a5d8e2f4a6b7c.tiff",
        )


@cache
def _record_type() -> TypeAdapter[LineRecord]:
    """What holds lines of a journal to their types: anyone may have written them."""
    return TypeAdapter(LineRecord)


def record_columns() -> pa.Schema:
    """The columns of a Parquet file of records."""
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int32()
    kinds = {
        "time": pa.timestamp("us", tz="UTC"),
        "label": pa.int8(),
        "height": whole,
        "width": whole,
        "warnings": pa.list_(text),
    }
    numbers = (
        "score",
        "threshold",
        "review_threshold",
        "seconds",
        "brightness",
        "sharpness",
        "red",
        "green",
        "blue",
    )
    columns = [
        (field.name, kinds.get(field.name, number if field.name in numbers else text))
        for field in fields(LineRecord)
    ]
    return pa.schema(columns, metadata={"uad_record_schema": str(RECORD_SCHEMA)})
