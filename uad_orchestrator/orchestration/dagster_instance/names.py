"""What a project's assets, jobs, sensors, schedules, ops and resources are called in Dagster.

Asset keys lie below the project's key prefix. All other names are one word; they begin with the prefix, joined by two
underscores as Dagster joins an asset's key: ``line7__cell`` beside ``line7/memory_bank``. Without a prefix they are
the plain ``cell`` and ``memory_bank``. So the definitions of several projects go together in one code location.
"""

from __future__ import annotations

import dagster as dg

from uad_orchestrator.project import Project


def asset_key(project: Project, asset: str) -> dg.AssetKey:
    """The asset's key, below the project's key prefix."""
    return dg.AssetKey([*project.dagster.key_prefix, asset])


def name_in_dagster(project: Project, name: str) -> str:
    """The name of a job, sensor, schedule, op or resource, with the project's key prefix before it."""
    return "__".join([*project.dagster.key_prefix, name])
