"""Which settings of an instance do not fit, and what those say whom they name: Dagster, the launcher, the database.

Not public API of Dagster here: how ``dagster.yaml`` is checked, and the settings of a class that it names.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._check import CheckError

from uad_orchestrator.orchestration.dagster_instance.settings.database import unreachable, unusable
from uad_orchestrator.orchestration.dagster_instance.settings.fitting import (
    RAY_LAUNCHER,
    ProjectFacts,
    find_misfits,
)
from uad_orchestrator.orchestration.dagster_instance.settings.misfit import Misfit
from uad_orchestrator.orchestration.dagster_instance.settings.read import get, read_settings
from uad_orchestrator.orchestration.dagster_instance.settings.secrets import passwords, without
from uad_orchestrator.orchestration.dagster_instance.settings.storages import storages


def instance_misfits(home: Path, environ: Mapping[str, str], facts: ProjectFacts) -> list[Misfit]:
    """Which settings of a home do not fit, and why what they name cannot be used from here; nothing is written.

    Args:
        home: the folder of ``dagster.yaml``.
        environ: the environment's variables.
        facts: what of the project decides what fits.
    """
    try:
        settings = read_settings(home)
    except (OSError, ValueError) as error:
        return [Misfit("", f"cannot be read: {error}")]
    found = [
        *find_misfits(settings, environ, facts),
        *_refused_by_the_launcher(settings),
        *_unusable_databases(settings, environ),
    ]
    if not any(misfit.severity == "error" for misfit in found):  # else it has been said, and better
        found += _refused_by_dagster(home, settings, environ)
    return found


def _unusable_databases(settings: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Misfit]:
    said = set()
    for storage in storages(settings):
        if storage.kind == "postgres" and (
            fault := unusable(storage, environ) or unreachable(storage, environ)
        ):
            if fault.said not in said:  # three storages may be in one database
                yield fault
            said.add(fault.said)


def _refused_by_the_launcher(settings: Mapping[str, Any]) -> Iterator[Misfit]:
    from dagster._config import validate_config
    from dagster._core.launcher import RunLauncher
    from dagster._serdes import ConfigurableClass

    module, name = (str(get(settings, "run_launcher", part) or "") for part in ("module", "class"))
    if not module:
        return
    try:
        launcher = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever a module raises while it is imported
        extra = ": pip install 'uad_orchestrator[ray]'" if name == RAY_LAUNCHER else ""
        yield Misfit(
            "run_launcher.module",
            f"{module} cannot be imported ({str(error) or type(error).__name__}){extra}",
        )
        return
    if launcher is None:
        yield Misfit("run_launcher.class", f"{module} has no {name}")
    elif not _is_class_of(launcher, RunLauncher, ConfigurableClass):
        said = f"{module}.{name} is no run launcher: expected a class of Dagster's RunLauncher and ConfigurableClass"
        yield Misfit("run_launcher.class", said)
    else:
        config = get(settings, "run_launcher", "config") or {}
        for fault in validate_config(launcher.config_type(), config).errors or ():
            yield Misfit("run_launcher.config", f"{name} refuses it: {' '.join(fault.message.split())}")


def _is_class_of(found: object, *parents: type) -> bool:
    return isinstance(found, type) and all(issubclass(found, parent) for parent in parents)


def _refused_by_dagster(
    home: Path, settings: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Misfit]:
    from dagster._core.instance.config import dagster_instance_config

    if not settings:
        return
    try:
        dagster_instance_config(str(home))
    except (dg.DagsterError, CheckError) as error:
        said = without(" ".join(str(error).split()), *passwords(settings, environ))
        yield Misfit("", f"is refused by Dagster: {said[:500]}")
