"""The settings of a project on several machines: PostgreSQL, runs on Ray."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.project import Project
from uad_orchestrator.storage.atomic import write_text

CLUSTER_YAML = Path(__file__).with_name("cluster.yaml")
"""Commented, and right as it is: what differs from place to place comes from the environment."""


def write_cluster_settings(project: Project) -> Path:
    """Write the settings to where the project's own instance has them; returns where.

    Raises:
        FileExistsError: there are some already.
    """
    path = Path(project.storage.local) / "dagster" / "dagster.yaml"
    if path.exists():
        raise FileExistsError(f"{path} is there already: edit it, or move it aside and try again")
    write_text(path, CLUSTER_YAML.read_text(encoding="utf-8"))
    return path
