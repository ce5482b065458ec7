"""What a run launcher has to know of cells.

Not public API of Dagster here: run launchers, and what they are given.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus

from uad_orchestrator.orchestration.dagster_instance.dead_runs import PID
from uad_orchestrator.orchestration.dagster_instance.launchers.run_process import started_here
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import asked_for


class KnowsCells(RunLauncher):
    """Put before a launcher of another package: ``class RayRunLauncher(KnowsCells, dagster_ray.RayRunLauncher)``.

    - A run that a click on an asset started has no tags of its detector's ``resources``: they are added.
    - A run that a process of ours works through by itself (``uad refresh``, the job ``recalibrate``) was launched by
      nobody. Dagster's monitoring would find no worker of it, and fail it while it is at work.
    - A run starts and ends sooner by ``run_process`` than by Dagster's own command.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch the run, with all the tags it should have."""
        run = context.dagster_run
        if lacking := asked_for(self._instance, run):
            self._instance.add_run_tags(run.run_id, dict(lacking))
            run = run.with_tags({**run.tags, **lacking})
        super().launch_run(context._replace(dagster_run=started_here(run)))  # type: ignore[safe-super]

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """What the launcher knows of a run's worker; of a run that has none, that all is well."""
        if PID in run.tags:  # one that died is found by `fail_dead_runs`
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return super().check_run_worker_health(run)
