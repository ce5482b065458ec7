"""The sections of what runs by itself, and of how the project appears in Dagster."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from uad_orchestrator.project.cron import cron_fault
from uad_orchestrator.project.errors import shown
from uad_orchestrator.project.settings.alerts import AlertSettings, web_address
from uad_orchestrator.project.settings.section import Section


class IntakeSettings(Section):
    """Which new normal images are taken into the memory bank, and which are put in quarantine."""

    quantile: float = Field(
        0.999, gt=0.5, le=1, description="of held-out normal scores: above it, quarantine"
    )
    detectors: Literal["majority", "any", "all"] = Field(
        "majority", description="how many of the category's detectors must find the image normal"
    )


class AutomationSettings(Section):
    """What happens by itself while the daemon runs."""

    recalibrate: str | None = Field(None, description="cron line of the schedule that takes new normals in")
    watch_checkpoints: PositiveInt = Field(30, description="seconds between two looks at the checkpoints")
    intake: IntakeSettings = IntakeSettings()
    threshold_shift: PositiveFloat = Field(
        0.2, description="share by which new normals may move a threshold before an asset check warns"
    )
    alerts: tuple[AlertSettings, ...] = Field((), description="who is told when an asset check turns")
    ui: str | None = Field(
        None, description="address of Dagster's web server, for the links in alerts, e.g. http://line7:3000"
    )

    @field_validator("recalibrate")
    @classmethod
    def _cron(cls, line: str | None) -> str | None:
        if line is not None and (fault := cron_fault(line)):
            raise ValueError(f"is {shown(line)}: {fault}")
        return line

    @field_validator("ui")
    @classmethod
    def _address(cls, ui: str | None) -> str | None:
        return None if ui is None else web_address(ui).rstrip("/")


class PoolSettings(Section):
    """The Dagster pool of each computed asset of a cell."""

    memory_bank: str | None = Field(None, description="limits how many memory banks are fitted at once")
    score_table: str | None = Field(None, description="limits how many score tables are filled at once")
    anomaly_maps: str | None = Field(None, description="limits how many cells' maps are made at once")
    metrics_report: str | None = Field(None, description="limits how many cells are measured at once")

    @field_validator("*")
    @classmethod
    def _one_word(cls, pool: str | None) -> str | None:
        if pool is not None and not re.fullmatch(r"\S+", pool):
            raise ValueError(f"is {shown(pool)}: a pool's name has no spaces")
        return pool

    def of(self, asset: str) -> str | None:
        """The pool of an asset; None where it has none."""
        return getattr(self, asset, None)


class DagsterSettings(Section):
    """How the project appears in a Dagster instance that others share."""

    key_prefix: tuple[str, ...] = Field((), description="put before every asset key")
    name_prefix: tuple[str, ...] = Field(
        (), description="put before the names of jobs, sensors and schedules"
    )
    group: str | None = Field(
        None, description="the group all assets are in; default: dataset, settings and benchmark"
    )
    pools: PoolSettings = Field(
        PoolSettings(), description="of each computed asset, the Dagster pool whose limit it keeps to"
    )
    location_name: str = Field("uad_orchestrator", min_length=1, description="the code location's name")
    owners: tuple[str, ...] = Field(
        ("team:vision",), description="of every asset: e-mail addresses, or team:<name>"
    )

    @field_validator("key_prefix", "name_prefix", mode="before")
    @classmethod
    def _one_word(cls, prefix: object) -> object:
        return (prefix,) if isinstance(prefix, str) else prefix

    @field_validator("key_prefix", "name_prefix")
    @classmethod
    def _words(cls, prefix: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z]\w*", part, re.ASCII) for part in prefix):
            raise ValueError(
                f"is {list(prefix)}: each part is made of letters, digits and underscores, a letter first"
            )
        return prefix

    @field_validator("group")
    @classmethod
    def _group_name(cls, group: str | None) -> str | None:
        if group is not None and not re.fullmatch(r"\w+(/\w+)*", group, re.ASCII):
            raise ValueError(f"is {shown(group)}: a group's name is made of letters, digits and underscores")
        return group

    @field_validator("owners")
    @classmethod
    def _addresses(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        for owner in owners:
            if not re.fullmatch(r"team:\S+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
                raise ValueError(f"holds {shown(owner)}, should be e-mail addresses, or team:<name>")
        return owners
