"""Whether Dagster's instance can be used, and its settings fit the project."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from uad_orchestrator.orchestration.dagster_instance.instance import (
    dagster_home,
    open_instance,
    project_dagster_home,
)
from uad_orchestrator.orchestration.dagster_instance.settings.asking import instance_misfits
from uad_orchestrator.orchestration.dagster_instance.settings.fitting import ProjectFacts
from uad_orchestrator.orchestration.dagster_instance.settings.misfit import Misfit
from uad_orchestrator.orchestration.services.project_check.problem import ProjectProblem
from uad_orchestrator.orchestration.versions.stores import InstanceError, open_index, open_store
from uad_orchestrator.project import Project
from uad_orchestrator.storage.lineage.index import LineageError

CONTAINER = re.compile(r"[0-9a-f]{12}")
"""The host name of a container that nobody gave one: a new one each time."""


def instance_problems(project: Project) -> Iterator[ProjectProblem]:
    """What is wrong with the instance in use; nothing is written, and none is made."""
    home = dagster_home(project)
    misfits = _misfits(project, home)
    for misfit in misfits:
        key = f"dagster.yaml: {misfit.key}" if misfit.key else "dagster.yaml"
        yield ProjectProblem(key, misfit.said, misfit.severity)
    if any(misfit.severity == "error" for misfit in misfits):
        return
    if (home / "history").is_dir():  # else there is none yet, and looking would make one
        try:
            with open_instance(project):
                pass
        except InstanceError as error:
            yield ProjectProblem("dagster", str(error))
        except OSError as error:
            yield ProjectProblem("dagster", _cannot_be_used(home, error))


def home_problems(project: Project) -> Iterator[ProjectProblem]:
    """Whether DAGSTER_HOME, where it is set, is a folder that the project may use beside others."""
    users = os.environ.get("DAGSTER_HOME")
    if users and Path(users).resolve() != project_dagster_home(project).resolve():
        if not Path(users).is_dir():
            yield ProjectProblem("DAGSTER_HOME", f"{users} is not a folder: make it, or unset DAGSTER_HOME")
        elif not project.dagster.key_prefix:
            yield ProjectProblem(
                "DAGSTER_HOME",
                f"the instance in {users} is used instead of the project's own; if another project uses it too, "
                "their assets mix: set dagster.key_prefix in uad.yaml, or unset DAGSTER_HOME",
            )


def _cannot_be_used(home: Path, error: OSError) -> str:
    """Of files around the instance, its lock above all: they are written even by who only looks."""
    file = error.filename or home
    return (
        f"Dagster's store in {home} cannot be used: {file}: {error.strerror or error}. `uad` needs to write there: "
        "let this user do so, or copy the project to a folder of theirs"
    )


def _misfits(project: Project, home: Path) -> list[Misfit]:
    """The settings that do not fit; an instance of the project's own that is not there yet gets those that do."""
    if not home.is_dir() or (home == project_dagster_home(project) and not (home / "dagster.yaml").exists()):
        return []
    facts = ProjectFacts(
        hosts=_machines(project),
        pools=any(project.dagster.pools.model_dump().values()),
        own_folder=Path(project.storage.root) == Path(project.storage.local),
    )
    return instance_misfits(home, os.environ, facts)


def _machines(project: Project) -> tuple[str, ...]:
    """The machines that made what lies in a store that several share, as far as this one has heard."""
    try:
        store = open_store(project)
        hosts = open_index(store).hosts() if store.shared else []
    except (ImportError, OSError, ValueError, LineageError):  # said by who looks at the store
        return ()
    return tuple(host for host in hosts if not CONTAINER.fullmatch(host))
