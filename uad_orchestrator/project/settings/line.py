"""The section of the line: where its records lie."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from uad_orchestrator.project.settings.section import Section


class LineSettings(Section):
    """What the line saw, as ``uad serve``, ``infer`` and ``watch`` record it."""

    records: Path | None = Field(None, description="the folder that is recorded to (--record)")
