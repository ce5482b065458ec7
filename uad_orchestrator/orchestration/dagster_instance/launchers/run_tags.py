"""The tags of a cell's run: which cell it is, and what it takes of a cluster's machine.

Run launchers read the tags of runs alone, each one tag of its own, and ignore those of the others. Not public API of
Dagster here: the tag that says a partition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.event_log import PARTITION_TAG
from uad_orchestrator.orchestration.dagster_instance.names import BETWEEN, CATEGORY, DETECTOR
from uad_orchestrator.orchestration.versions.graph import SEPARATOR, Cell
from uad_orchestrator.project import Project
from uad_orchestrator.project.settings import ResourceSettings

RAY, KUBERNETES, CELERY_QUEUE = "dagster-ray/config", "dagster-k8s/config", "dagster-celery/queue"
"""What the run launchers of dagster-ray, dagster-k8s and dagster-celery read."""

GPU_QUEUE = "gpu"
"""Celery knows no resources: runs that need a GPU go into a queue of this name, to which workers with one listen."""

OF_DETECTORS = "uad/tags_of_detectors"
"""Tag of an asset: of each detector the tags that say its resources, as JSON. For launchers that know our cells."""


def resource_tags(resources: ResourceSettings | None) -> dict[str, str]:
    """The tags of a run by which each of the known launchers gives it its resources.

    >>> resource_tags(ResourceSettings(num_gpus=1, num_cpus=4))["dagster-ray/config"]
    '{"num_cpus": 4.0, "num_gpus": 1.0}'
    """
    if resources is None:
        return {}
    asked = resources.model_dump(exclude_none=True)
    tags = {
        RAY: json.dumps(asked, sort_keys=True),
        KUBERNETES: json.dumps(_container(resources), sort_keys=True),
    }
    return tags | ({CELERY_QUEUE: GPU_QUEUE} if resources.num_gpus else {})


def _container(resources: ResourceSettings) -> dict[str, object]:
    """For Kubernetes: cores are asked for and may be exceeded, GPUs are whole ones."""
    found: dict[str, object] = {}
    if resources.num_cpus is not None:
        found["requests"] = {"cpu": f"{resources.num_cpus:g}"}
    if resources.num_gpus:
        found["limits"] = {"nvidia.com/gpu": str(math.ceil(resources.num_gpus))}
    return {"container_config": {"resources": found}}


def largest_resources(project: Project) -> ResourceSettings | None:
    """What a run takes that has cells of all detectors to compute, one after the other."""
    asked = [entry.resources for entry in project.detectors.values() if entry.resources]
    amounts = {
        name: max(given)
        for name in ResourceSettings.model_fields
        if (given := [value for one in asked if (value := getattr(one, name)) is not None])
    }
    return ResourceSettings(**amounts) if amounts else None


def cell_tags(project: Project, cell: Cell) -> dict[str, str]:
    """All that a cell's run is tagged with, whoever asks for it; a detector that is not in the file needs nothing."""
    entry = project.detectors.get(cell.detector)
    return {
        CATEGORY: cell.category,
        DETECTOR: cell.detector,
        **resource_tags(entry.resources if entry else None),
    }


def tags_of_group(project: Project, cells: Sequence[Cell]) -> dict[str, str]:
    """What a run of a group of cells is tagged with: all its detectors ask for the same resources."""
    return {
        **cell_tags(project, cells[0]),
        CATEGORY: BETWEEN.join(dict.fromkeys(cell.category for cell in cells)),
        DETECTOR: BETWEEN.join(dict.fromkeys(cell.detector for cell in cells)),
    }


def tags_of_detectors(project: Project) -> dict[str, str]:
    """The tags of an asset of a cell, from which ``asked_for`` reads what a run of it needs."""
    found = {name: resource_tags(entry.resources) for name, entry in project.detectors.items()}
    needed = {name: tags for name, tags in found.items() if tags}
    return {OF_DETECTORS: json.dumps(needed, sort_keys=True)} if needed else {}


def asked_for(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[str, str]:
    """The tags of resources that a run of a cell lacks: nothing of a click on an asset has put them there."""
    partition = run.tags.get(PARTITION_TAG, "")
    if SEPARATOR not in partition or run.job_snapshot_id is None:
        return {}
    detector = Cell.from_key(partition).detector
    for op in instance.get_job_snapshot(run.job_snapshot_id).node_defs_snapshot.op_def_snaps:
        if OF_DETECTORS in op.tags:
            tags = json.loads(op.tags[OF_DETECTORS]).get(detector, {})
            return {name: value for name, value in tags.items() if name not in run.tags}
    return {}
