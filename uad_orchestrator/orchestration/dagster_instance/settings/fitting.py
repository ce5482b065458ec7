"""Which settings of an instance do not fit ours: rules over what ``dagster.yaml`` says; nothing is opened or asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.orchestration.dagster_instance.settings.misfit import Misfit, unset_variables
from uad_orchestrator.orchestration.dagster_instance.settings.read import get, variables
from uad_orchestrator.orchestration.dagster_instance.settings.storages import storages

HERE = ("", "DefaultRunLauncher", "SyncInMemoryRunLauncher")
"""Launchers that run on this machine; "" is Dagster's default, the first of them."""

RAY_LAUNCHER = "RayRunLauncher"
"""The class of dagster-ray's launcher, and of ours made of it."""

WITHOUT_QUEUE = (*HERE, "DockerRunLauncher")
"""Launchers whose runs begin when they are launched. With all others they wait until the cluster has room."""

QUEUE_SECONDS = 3600
"""What a run has to be given to begin, at least, where it may wait."""

DAGSTERS_START_SECONDS = 180

LIMITS = ("max_concurrent_runs", "tag_concurrency_limits", "block_op_concurrency_limited_runs")
"""What Dagster takes from ``concurrency``, and refuses to find in a second place."""


@dataclass(frozen=True)
class ProjectFacts:
    """What of the project decides what fits.

    Attributes:
        hosts: the machines that made the artifacts of its store.
        pools: whether its assets keep to pools.
        own_folder: whether its artifacts lie in a folder of this machine.
    """

    hosts: tuple[str, ...] = ()
    pools: bool = False
    own_folder: bool = False


def find_misfits(
    settings: Mapping[str, Any], environ: Mapping[str, str], facts: ProjectFacts
) -> list[Misfit]:
    """The settings that do not fit, none where all do.

    Args:
        settings: what ``dagster.yaml`` says, as YAML.
        environ: the environment's variables.
        facts: what of the project decides.
    """
    launcher = str(get(settings, "run_launcher", "class") or "")
    return [
        *unset_variables(settings, environ),
        *_storage(settings, launcher, facts),
        *_runs_at_once(settings, launcher),
        *_pools(settings, facts),
        *_launcher(settings, launcher, facts),
        *_monitoring(settings, launcher),
        *_resuming(settings, launcher),
        *_retries(settings),
    ]


def _storage(settings: Mapping[str, Any], launcher: str, facts: ProjectFacts) -> Iterator[Misfit]:
    remedy = "expected PostgreSQL in storage, as `uad init --cluster` writes it"
    for storage in storages(settings):
        if storage.kind == "sqlite" and launcher not in HERE:
            said = f"is SQLite, files of this machine, while {launcher} runs jobs on others, which cannot write them"
            yield Misfit(storage.key, f"{said}: {remedy}")
        elif storage.kind == "sqlite" and len(facts.hosts) > 1:
            machines = f"{len(facts.hosts)} machines ({', '.join(facts.hosts[:3])})"
            said = f"is SQLite, while {machines} made the artifacts of storage.root: none shows what the others ran"
            yield Misfit(storage.key, f"{said}; for one history of all, {remedy}", "warning")


def _runs_at_once(settings: Mapping[str, Any], launcher: str) -> Iterator[Misfit]:
    key, limit = _most_runs(settings)
    coordinator = str(get(settings, "run_coordinator", "class") or "")
    if coordinator == "DefaultRunCoordinator":
        said = (
            "is DefaultRunCoordinator, which launches each run at once, so that no limit counts: take it out"
        )
        yield Misfit("run_coordinator", said, "warning")
    elif get(settings, "concurrency", "pools") or get(settings, "concurrency", "runs"):
        for place in ("run_coordinator.config", "run_queue"):
            if doubled := [name for name in LIMITS if get(settings, *place.split("."), name) is not None]:
                said = f"has {', '.join(doubled)} beside `concurrency`, which Dagster refuses to start with"
                yield Misfit(place, f"{said}: move it to concurrency.runs")
    if isinstance(limit, int) and limit < 1 and limit != -1:
        yield Misfit(key, f"is {limit}: no run ever starts; expected how many may run at once")
    elif launcher not in HERE and limit is None:
        said = "is not set, so that 10 runs at once are all that the cluster ever gets: expected what it has room for"
        yield Misfit(key, said, "warning")
    elif launcher not in HERE and limit == -1:
        said = (
            "is -1, no limit: a backfill of all cells fills the cluster's queue, and PostgreSQL's connections"
        )
        yield Misfit(key, f"{said}; expected what the cluster has room for", "warning")


def _most_runs(settings: Mapping[str, Any]) -> tuple[str, Any]:
    """How many runs there may be at once, and where that stands: three places can have it."""
    for place in ("concurrency.runs", "run_queue", "run_coordinator.config"):
        if (limit := get(settings, *place.split("."), "max_concurrent_runs")) is not None:
            return f"{place}.max_concurrent_runs", limit
    return "concurrency.runs.max_concurrent_runs", None


def _pools(settings: Mapping[str, Any], facts: ProjectFacts) -> Iterator[Misfit]:
    granularity = get(settings, "concurrency", "pools", "granularity")
    if facts.pools and granularity != "op":
        said = f"is {granularity or 'not set'}, expected op: dagster.pools of uad.yaml limit stages, not whole runs"
        yield Misfit("concurrency.pools.granularity", said, "warning")


def _launcher(settings: Mapping[str, Any], launcher: str, facts: ProjectFacts) -> Iterator[Misfit]:
    if launcher not in HERE and facts.own_folder:
        said = (
            f"{launcher} runs jobs on other machines, while storage.root of uad.yaml is a folder of this one"
        )
        yield Misfit(
            "run_launcher.class", f"{said}: expected a bucket, or a folder that all of them mount", "warning"
        )
    if launcher == RAY_LAUNCHER:
        sent = get(settings, "run_launcher", "config", "ray", "env_vars")
        named = {str(name).partition("=")[0] for name in sent} if isinstance(sent, list) else set()
        needed = [
            "UAD_HOME",
            *(name for storage in storages(settings) for _, name in variables(storage.config)),
        ]
        if missing := [name for name in dict.fromkeys(needed) if name not in named]:
            said = f"does not name {', '.join(missing)}: a job without finds neither the project nor the database"
            remedy = "add it, unless every node has it set where `ray start` runs"
            yield Misfit("run_launcher.config.ray.env_vars", f"{said}; {remedy}", "warning")


def _monitoring(settings: Mapping[str, Any], launcher: str) -> Iterator[Misfit]:
    if get(settings, "run_monitoring", "enabled") is not True:
        said = "is off, expected true: a run whose process or machine died stays started, with its place and its pools"
        yield Misfit("run_monitoring.enabled", said, "warning")
    elif launcher not in WITHOUT_QUEUE:
        given = get(settings, "run_monitoring", "start_timeout_seconds")
        seconds = DAGSTERS_START_SECONDS if given is None else given
        if isinstance(seconds, int) and 0 < seconds < QUEUE_SECONDS:
            now = f"is {seconds}" if given is not None else f"is not set, so {seconds}"
            said = f"{now}: a run that waits longer for room in the cluster is failed; expected a day, 86400"
            yield Misfit("run_monitoring.start_timeout_seconds", said, "warning")


def _resuming(settings: Mapping[str, Any], launcher: str) -> Iterator[Misfit]:
    key = "run_monitoring.max_resume_run_attempts"
    attempts = get(settings, *key.split("."))
    on = get(settings, "run_monitoring", "enabled") is True
    if not on or not isinstance(attempts, int) or attempts < 1:
        return
    if launcher in HERE:
        said = f"is {attempts}, and {launcher or HERE[1]} cannot resume a run: Dagster does not start with it"
        yield Misfit(key, f"{said}; expected 0, as run_retries starts lost runs again")
    elif launcher == RAY_LAUNCHER:
        said = f"is {attempts}: a lost run is resumed in a new job, while uad fails it and run_retries starts it again"
        yield Misfit(key, f"{said}, so that it may be computed twice at once; expected 0", "warning")


def _retries(settings: Mapping[str, Any]) -> Iterator[Misfit]:
    retries = get(settings, "run_retries", "max_retries") or 0
    if get(settings, "run_retries", "enabled") is not True:
        said = "is off, expected true: a run that was lost with its process or machine is not started again"
        yield Misfit("run_retries.enabled", said, "warning")
    elif isinstance(retries, int) and retries < 1:
        said = f"is {retries}: no lost run is started again; expected 2"
        yield Misfit("run_retries.max_retries", said, "warning")
    elif get(settings, "run_retries", "retry_on_asset_or_op_failure") is not False:
        said = "is true, expected false: what an asset says is wrong is as wrong at the second try"
        yield Misfit("run_retries.retry_on_asset_or_op_failure", said, "warning")
