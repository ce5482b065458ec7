"""dagster-celery's run launcher, which knows our cells."""

from __future__ import annotations

from dagster_celery.launcher import CeleryRunLauncher as DagstersRunLauncher

from uad_orchestrator.orchestration.dagster_instance.launchers.cells import KnowsCells


class CeleryRunLauncher(KnowsCells, DagstersRunLauncher):
    """A run, a task of Celery; its settings in ``dagster.yaml`` are those of dagster-celery's launcher of that name."""
