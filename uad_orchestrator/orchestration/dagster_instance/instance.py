"""Dagster's instance of a project: where runs and events are recorded.

Not public API of Dagster here: the class of what its own checks of types raise.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg
from dagster._check import CheckError

from uad_orchestrator.orchestration.dagster_instance.settings.database import (
    ASKING_LOCK,
    DatabaseUnusable,
    alone,
    opened_alone,
    said_by,
    storage_errors,
)
from uad_orchestrator.orchestration.dagster_instance.settings.read import read_settings
from uad_orchestrator.orchestration.dagster_instance.settings.secrets import passwords, without
from uad_orchestrator.orchestration.dagster_instance.settings.storages import postgres_in
from uad_orchestrator.orchestration.versions.stores import InstanceError
from uad_orchestrator.project import Project
from uad_orchestrator.storage.atomic import write_text

if TYPE_CHECKING:
    from dagster._core.instance import InstanceRef

InstanceReference: TypeAlias = "InstanceRef"
"""What another process needs to open the same instance; Dagster does not export its name."""

DAGSTER_YAML = """\
# Written once by uad; edit it as you like, it is never overwritten.
telemetry:
  enabled: false
nux:
  enabled: false         # no greeting dialogs in the browser
concurrency:
  pools:
    granularity: op      # with `run`, two runs in one process would not wait for each other
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
run_retries:             # of runs whose process died; what an asset says is wrong stays wrong
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
"""


def dagster_home(project: Project) -> Path:
    """The user's DAGSTER_HOME if it is set, else ``<local>/dagster`` of the project."""
    users = os.environ.get("DAGSTER_HOME")
    return Path(users).expanduser().resolve() if users else project_dagster_home(project)


def project_dagster_home(project: Project) -> Path:
    """``<local>/dagster``, the project's own."""
    return Path(project.storage.local) / "dagster"


def prepare_dagster_home(project: Project) -> Path:
    """The folder of the instance in use; the project's own is made, a user's is never written to.

    Raises:
        FileNotFoundError: DAGSTER_HOME names a folder that does not exist.
    """
    home = dagster_home(project)
    if home == project_dagster_home(project):
        settings = home / "dagster.yaml"
        if not settings.exists():
            write_text(settings, DAGSTER_YAML)
    elif not home.is_dir():
        raise FileNotFoundError(f"DAGSTER_HOME is {home}, but there is no such folder: make it, or unset it")
    return home


def open_instance(project: Project) -> dg.DagsterInstance:
    """The instance in use, opened; close it, or use it in a ``with`` statement.

    Raises:
        InstanceError: its databases are damaged, locked, or of a later Dagster; or its ``dagster.yaml`` is no
            settings of Dagster's.
    """
    from alembic.util.exc import CommandError
    from filelock import FileLock
    from sqlalchemy.exc import SQLAlchemyError
    from yaml import YAMLError

    home = prepare_dagster_home(project)
    # Opening a new home makes its databases, and two processes that do so at once leave one that cannot be
    # opened again ("more than one head present"). A home without dagster.yaml has Dagster's default: SQLite.
    with FileLock(_lock_of(home, project)):
        try:
            with opened_alone(_settings_of(home), os.environ):
                instance = dg.DagsterInstance.from_config(str(home))
                instance.get_asset_keys(limit=1)  # the index of events is opened by the first question
                return instance
        except DatabaseUnusable as error:
            raise InstanceError(f"{home / 'dagster.yaml'}: {error}") from error
        except (SQLAlchemyError, CommandError) as error:
            raise InstanceError(_cannot_be_opened(home, project, error)) from error
        except storage_errors() as error:
            raise InstanceError(_cannot_be_opened(home, project, error)) from error
        except (YAMLError, UnicodeDecodeError, RecursionError, CheckError, dg.DagsterError) as error:
            raise InstanceError(_wrong_settings(home, project, error)) from error


@contextmanager
def asking_alone(project: Project) -> Iterator[None]:
    """While it is looked which cells were asked for, and others are: of two that do so at once the second waits."""
    from filelock import FileLock

    home = dagster_home(project)
    with FileLock(_lock_of(home, project, "asking")), alone(_settings_of(home), os.environ, ASKING_LOCK):
        yield


@contextmanager
def damage_named(project: Project) -> Iterator[None]:
    """While an instance is in use: databases whose damage is met only now are named as when it is opened.

    Raises:
        InstanceError: a database of its is damaged.
    """
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except storage_errors() as error:
        raise InstanceError(_cannot_be_opened(dagster_home(project), project, error)) from error
    except DatabaseError as error:
        if (
            type(error) is not DatabaseError
        ):  # those derived from it tell of locks, full disks, wrong questions
            raise
        raise InstanceError(_cannot_be_opened(dagster_home(project), project, error)) from error


def _settings_of(home: Path) -> Mapping[str, Any]:
    """What ``dagster.yaml`` says; nothing where it cannot be read, which Dagster will say."""
    with suppress(OSError, ValueError):
        return read_settings(home)
    return {}


def _cannot_be_opened(home: Path, project: Project, error: Exception) -> str:
    settings = _settings_of(home)
    said = without(said_by(error), *passwords(settings, os.environ))
    if postgres_in(settings):
        place = f"Dagster's records in PostgreSQL ({home / 'dagster.yaml'})"
        return f"{place} cannot be used: {said}. `uad check` tells whether the settings or the server are at fault"
    if home != project_dagster_home(project):
        return f"Dagster's store in {home} (DAGSTER_HOME) cannot be opened: {said}"
    return (
        f"Dagster's store in {home} cannot be opened: {said}. Nothing computed is lost with it: move that folder "
        "aside, then `uad refresh` finds the artifacts and records them again"
    )


def _wrong_settings(home: Path, project: Project, error: Exception) -> str:
    said = without(" ".join(str(error).split()), *passwords(_settings_of(home), os.environ))[:300]
    remedy = (
        "mend it, or remove it: uad writes a new one" if home == project_dagster_home(project) else "mend it"
    )
    return f"{home / 'dagster.yaml'} cannot be read as Dagster's settings ({said}): {remedy}"


def _lock_of(home: Path, project: Project, purpose: str = "dagster") -> Path:
    """One lock for all that use a home; several projects share a user's, in which nothing is written."""
    if home == project_dagster_home(project):
        lock = Path(project.storage.local) / "locks" / f"{purpose}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    name = f"uad-{os.getuid()}-{name}-{purpose}.lock"  # in a container a user may have no name
    return Path(tempfile.gettempdir()) / name


def reference_to(instance: dg.DagsterInstance) -> InstanceReference:
    """What another process opens this instance by."""
    return instance.get_ref()


def open_reference(reference: InstanceReference) -> dg.DagsterInstance:
    """The instance of another process, opened in this one; use it in a ``with`` statement."""
    return dg.DagsterInstance.from_ref(reference)
