"""What an alert says: that a check turned, of which cell, why, with a picture and a link."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import numpy as np

from uad_orchestrator.images.header import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.records.record_files import cell_folder, inside
from uad_orchestrator.orchestration.assets.line import LINE_HEALTH
from uad_orchestrator.orchestration.assets.line_partitions import cell_and_day
from uad_orchestrator.orchestration.cells.line_day import health_file, kept_days, kept_health
from uad_orchestrator.orchestration.dagster_instance.check_events import Evaluation
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project
from uad_orchestrator.reporting.line.health_figure import line_picture
from uad_orchestrator.reporting.pictures.thumbnail import thumbnail_jpeg

SCHEMA = 1
"""Of an alert as JSON."""
PICTURE_WIDTH = 640


@dataclass(frozen=True)
class Place:
    """Where a check's result is of: ``line7/housing x patchcore``, and the day, where there is one."""

    subject: str
    day: str = ""

    def __str__(self) -> str:
        return f"{self.subject}, {self.day}" if self.day else self.subject


@dataclass(frozen=True)
class Picture:
    """A picture that goes with an alert."""

    content: bytes
    media_type: str
    name: str


@dataclass(frozen=True)
class Alert:
    """A check that turned.

    Attributes:
        id: of this alert alone; the same when it is sent again.
        found: the result that it turned with.
        place: whose.
        link: to its page in Dagster; None: ``automation.ui`` is not set.
        picture: None: there is none.
        path: the file with the figures of the day; None: of a check of another asset.
    """

    id: str
    found: Evaluation
    place: Place
    link: str | None
    picture: Picture | None
    path: str | None

    @property
    def title(self) -> str:
        """One line."""
        word = {"pass": "is right again", "warn": "warns", "fail": "fails"}[self.state]
        return f"{self.found.key.name} {word}: {self.place}"

    @property
    def state(self) -> str:
        """``pass``, ``warn`` or ``fail``."""
        return "pass" if self.found.passed else "fail" if self.found.is_error else "warn"

    @property
    def text(self) -> str:
        """The title, the result in a sentence, and where to look."""
        return "\n".join(filter(None, (self.title, self.found.said, self.link)))

    def to_json(self) -> dict[str, Any]:
        """As a webhook gets it; without the picture."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "time": datetime.fromtimestamp(self.found.when, UTC).isoformat(),
            "state": self.state,
            "check": self.found.key.name,
            "asset": "/".join(self.found.key.asset_key.path),
            "partition": self.found.partition,
            "subject": self.place.subject,
            "day": self.place.day or None,
            "title": self.title,
            "said": self.found.said,
            "figures": _plain(self.found.metadata),
            "link": self.link,
            "path": self.path,
        }


def place_of(key: dg.AssetCheckKey, partition: str | None) -> Place:
    """Whose a check's result is.

    Args:
        key: the check.
        partition: in which it judged.
    """
    if partition is None:
        return Place(key.asset_key.path[-1])
    try:
        if key.asset_key.path[-1] == LINE_HEALTH:
            cell, day = cell_and_day(partition)
            return Place(str(cell), day)
        return Place(str(Cell.from_key(partition)))
    except ValueError:
        return Place(partition)


def alert_of(project: Project, found: Evaluation) -> Alert:
    """The alert of a result.

    Args:
        project: as its file says now.
        found: the result that a check turned with.
    """
    picture, path, check = None, None, found.key.name
    if found.key.asset_key.path[-1] == LINE_HEALTH and found.partition is not None:
        cell, day = cell_and_day(found.partition)
        picture, path = _picture(project, check, cell, day), str(health_file(project, cell, day))
    name = f"{check}:{found.partition or found.key.asset_key.path[-1]}"
    place = place_of(found.key, found.partition)
    return Alert(f"{found.number}:{name}", found, place, _link(project, found), picture, path)


def _link(project: Project, found: Evaluation) -> str | None:
    if project.automation.ui is None:
        return None
    partition = f"&partition={quote(found.partition)}" if found.partition else ""
    return f"{project.automation.ui}/assets/{'/'.join(map(quote, found.key.asset_key.path))}?view=partitions{partition}"


def _picture(project: Project, check: str, cell: Cell, day: str) -> Picture | None:
    """Of more alarms the worst part whose picture was kept, else the days of the cell up to this one."""
    health = kept_health(project, cell, day)
    if health is None:
        return None
    name = f"{cell.category}-{cell.detector}-{day}".replace("/", "-")
    if check == "alarm_rate" and health.worst_picture and (records := project.line.records):
        folder = cell_folder(records, cell.category, cell.detector) / day
        if (image := _read(folder, health.worst_picture)) is not None:
            return Picture(thumbnail_jpeg(image, PICTURE_WIDTH), "image/jpeg", f"{name}.jpg")
    days = kept_days(project, cell, until=day)  # the last of them is this one
    return Picture(line_picture(days, project.line.drift.distance), "image/png", f"{name}.png")


def _read(folder: Path, name: str) -> np.ndarray | None:
    try:
        return ImageSource.from_path(inside(folder, name)).read()
    except (ImageError, OSError, ValueError):  # kept within a limit of bytes: it may be gone
        return None


def _plain(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures as JSON has them: no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
        if isinstance(value, str | int | float | bool | list | dict | None)
    }
