"""What a project's assets, jobs, sensors, schedules, ops and resources are called in Dagster, and runs tagged.

Asset keys lie below the project's key prefix: ``line7/memory_bank``. All other names are one word; they begin with its
name prefix, joined by two underscores as Dagster joins an asset's key: ``line7__cell``. Without the prefixes they are
the plain ``memory_bank`` and ``cell``. With both the definitions of several projects go together in one code location.
"""

from __future__ import annotations

import dagster as dg

from uad_orchestrator.project import Project

CELLS = "cells"
"""The job that computes the stale cells of a group; there where ``runtime.run_per`` is ``embedder``."""

CATEGORY, DETECTOR = "uad/category", "uad/detector"
"""Tags of a run of cells."""

BETWEEN = ", "
"""Between the categories, or detectors, of a run that has several; no name holds a comma."""


def asset_key(project: Project, asset: str) -> dg.AssetKey:
    """The asset's key, below the project's key prefix."""
    return dg.AssetKey([*project.dagster.key_prefix, asset])


def name_in_dagster(project: Project, name: str) -> str:
    """The name of a job, sensor, schedule, op or resource, with the project's name prefix before it."""
    return "__".join([*project.dagster.name_prefix, name])
