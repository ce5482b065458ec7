"""dagster-ray's run launcher, which knows our cells."""

from __future__ import annotations

import dagster_ray

from uad_orchestrator.orchestration.dagster_instance.launchers.cells import KnowsCells


class RayRunLauncher(KnowsCells, dagster_ray.RayRunLauncher):
    """A run, a Ray job; its settings in ``dagster.yaml`` are those of ``dagster_ray.RayRunLauncher``."""
