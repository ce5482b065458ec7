"""The section of the line: where its records lie, and when what they say is an alarm."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt

from uad_orchestrator.project.settings.section import Section


class DriftSettings(Section):
    """When the parts of a day look, or score, otherwise than the calibration normals. Both have to be reached."""

    p: float = Field(
        0.001, gt=0, le=0.1, description="by chance alone so far apart with this probability, or less"
    )
    distance: PositiveFloat = Field(
        0.5, description="how far apart they are at least, in spreads of the calibration normals"
    )


class AlarmSettings(Section):
    """When a day has more alarms than calibration promised. Both have to be reached."""

    p: float = Field(
        0.001, gt=0, le=0.1, description="so many by chance alone with this probability, or less"
    )
    factor: float = Field(2.0, ge=1, description="how many times the promised share there are at least")


class LineSettings(Section):
    """What the line saw, as ``uad serve`` and ``uad infer`` record it, and how it is watched."""

    records: Path | None = Field(None, description="the folder that is recorded to (--record)")
    start: date | None = Field(
        None, description="the first day that Dagster knows, in UTC; default: the first that is recorded"
    )
    refresh_minutes: PositiveFloat = Field(
        10.0, description="minutes after which the current day is looked at again, where it has new records"
    )
    min_parts: PositiveInt = Field(
        50, description="parts that a day has at least before a check says anything"
    )
    drift: DriftSettings = DriftSettings()
    alarms: AlarmSettings = AlarmSettings()
