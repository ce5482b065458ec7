"""The job ``cells``: one run computes the stale cells of a group, so that start-up and embeddings are paid once.

Inside it each cell is a run of the job ``cell``, as in ``uad refresh``: events, lineage and failures are its own, and
what fails costs itself alone.
"""

# No `from __future__ import annotations` here: Dagster reads the types of an op's parameters.

from collections.abc import Callable

import dagster as dg

from uad_orchestrator.orchestration.assets.partitions import group_partitions, tagged_runs
from uad_orchestrator.orchestration.dagster_instance.connections.held import held_connections
from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.group_tags import BOARD, cells_of, selected
from uad_orchestrator.orchestration.dagster_instance.launchers.run_tags import tags_of_group
from uad_orchestrator.orchestration.dagster_instance.names import CELLS, name_in_dagster
from uad_orchestrator.orchestration.dagster_instance.runs import is_last_of_backfill
from uad_orchestrator.orchestration.execution.cell_runs import CellOutcome, CellRunner
from uad_orchestrator.orchestration.execution.refresh import RefreshResult, refresh
from uad_orchestrator.orchestration.versions.groups import cell_groups, group_of
from uad_orchestrator.project import Project, read_again


def cells_job(project: Project) -> dg.JobDefinition:
    """The job ``cells``, one partition per group; a run computes what is stale of it when it starts."""
    groups = cell_groups(project)

    @dg.op(
        name=name_in_dagster(project, "compute_stale_cells"),
        description="Computes what is stale of the group when the run starts, one cell after the other.",
    )
    def compute_stale_cells(context: dg.OpExecutionContext) -> None:
        with held_connections(context.instance):
            result = run_group(read_again(project), context.instance, context.run, context.log.info)
        context.add_output_metadata(
            {
                "computed": len({(node.category, node.detector) for node in result.materialized}),
                "embedded_images": result.embedded_images,
                "seconds": result.seconds,
            }
        )
        if result.failed:
            what = [f"{one.asset} of {one.category} x {one.detector}: {one.error}" for one in result.failed]
            raise dg.Failure("; ".join(what), allow_retries=False)

    @dg.job(
        name=name_in_dagster(project, CELLS),
        description="The stale cells of one category or more whose detectors share embedder, preset and resources.",
        executor_def=dg.in_process_executor,
        config=tagged_runs(group_partitions(project), lambda name: tags_of_group(project, groups[name])),
    )
    def cells_of_a_group() -> None:
        compute_stale_cells()

    return cells_of_a_group


def run_group(
    project: Project, instance: dg.DagsterInstance, run: dg.DagsterRun, log: Callable[[str], None]
) -> RefreshResult:
    """Compute the stale cells that a run of a group is about; the last run of a backfill makes the board, too.

    Raises:
        dagster.Failure: uad.yaml has none of its cells any more, or the run is of no group.
    """
    groups = cell_groups(project)
    cells = cells_of(run, groups, group_of(groups).keys())
    if not cells:
        name = run.tags.get(PARTITION_TAG, "")
        remedy = "launch the job for one of its partitions, after Reload definitions"
        raise dg.Failure(f"this project has no group {name!r} of cells: {remedy}", allow_retries=False)

    def tell(outcome: CellOutcome) -> None:
        done = [*(node.asset for node in outcome.materialized)]
        failed = [f"{node.asset} failed: {node.error}" for node in outcome.failed]
        log(f"{outcome.cell}: {', '.join([*done, *failed])}")

    result = refresh(project, instance, selection=selected(cells, run), within_run=run.run_id, on_cell=tell)
    if BOARD in run.tags and is_last_of_backfill(instance, run):
        result.add(CellRunner(project, instance, run.run_id, within_run=run.run_id).run_leaderboard())
    return result
