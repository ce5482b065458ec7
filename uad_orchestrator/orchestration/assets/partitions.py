"""The two dimensions, category and detector, and their product: defined once, shared by every asset.

Sharing the objects matters: Dagster infers category -> cell and detector -> cell only when the one-dimensional
definition *is* the dimension of the two-dimensional one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import dagster as dg

from uad_orchestrator.orchestration.versions.graph import SEPARATOR, Dimension
from uad_orchestrator.orchestration.versions.groups import cell_groups
from uad_orchestrator.project import Project


@dataclass(frozen=True)
class Partitions:
    """The partitions definitions of a project."""

    category: dg.StaticPartitionsDefinition
    detector: dg.StaticPartitionsDefinition
    cell: dg.MultiPartitionsDefinition

    def has(self, key: str) -> bool:
        """Whether there is such a partition: a category, a detector or a cell."""
        category, separator, detector = key.partition(SEPARATOR)
        if not separator:
            return self.category.has_partition_key(key) or self.detector.has_partition_key(key)
        return self.category.has_partition_key(category) and self.detector.has_partition_key(detector)

    def of(self, dimension: Dimension) -> dg.PartitionsDefinition | None:
        """The definition for a node of the graph; None for an unpartitioned one."""
        return None if dimension == "none" else getattr(self, dimension)


def project_partitions(project: Project) -> Partitions:
    """The partitions of the categories and detectors a project names."""
    category = dg.StaticPartitionsDefinition(project.category_keys())
    detector = dg.StaticPartitionsDefinition(sorted(project.detectors))
    cell = dg.MultiPartitionsDefinition({"category": category, "detector": detector})
    return Partitions(category, detector, cell)


def group_partitions(project: Project) -> dg.StaticPartitionsDefinition:
    """The groups of cells, by name."""
    return dg.StaticPartitionsDefinition(list(cell_groups(project)))


def tagged_runs(
    partitions: dg.PartitionsDefinition, tags_of: Callable[[str], Mapping[str, str]]
) -> dg.PartitionedConfig:
    """A job's runs, tagged by their partition, whoever asks: a sensor, a click on the job, or a backfill of it."""
    return dg.PartitionedConfig(
        partitions, run_config_for_partition_key_fn=lambda key: {}, tags_for_partition_key_fn=tags_of
    )
