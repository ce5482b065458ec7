"""Writes a first project file: the demo's, or a commented one to fill in."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.project.settings import PROJECT_FILE
from uad_orchestrator.project.texts import CLUSTER_INIT_YAML, DEMO_YAML, INIT_YAML
from uad_orchestrator.storage.atomic import write_text


def write_demo_project(home: Path) -> Path:
    """Write the demo's project file into ``home``; one that is there already, unchanged, is left as it is.

    Raises:
        FileExistsError: ``home`` holds another project file.
    """
    path = home / PROJECT_FILE
    if path.exists() and path.read_text(encoding="utf-8") != DEMO_YAML:
        raise FileExistsError(
            f"{path} is not the demo's project file: choose another folder with --home, or use "
            "`uad refresh` for the project that is there"
        )
    write_text(path, DEMO_YAML)
    return path


def write_new_project(home: Path, *, cluster: bool = False) -> Path:
    """Write a commented project file into ``home``.

    Args:
        home: the folder it is to lie in.
        cluster: its artifacts in a bucket, for several machines.

    Raises:
        FileExistsError: there is one already.
    """
    path = home / PROJECT_FILE
    if path.exists():
        raise FileExistsError(f"{path} is there already: edit it, or choose another folder with --home")
    write_text(path, CLUSTER_INIT_YAML if cluster else INIT_YAML)
    return path
