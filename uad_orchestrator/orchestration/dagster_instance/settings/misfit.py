"""A setting of ``dagster.yaml`` that does not fit, and words about settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.datasets.problems import Severity


@dataclass(frozen=True)
class Misfit:
    """A setting that does not fit.

    Attributes:
        key: where it stands, as ``run_monitoring.enabled``.
        said: what it is, what is expected, why, and what to do.
        severity: an error where runs or commands fail by it.
    """

    key: str
    said: str
    severity: Severity = "error"


def get(settings: Mapping[str, Any], *path: str) -> Any:
    """The value at a path; None where there is none.

    >>> get({"concurrency": {"runs": {"max_concurrent_runs": 4}}}, "concurrency", "runs", "max_concurrent_runs")
    4
    >>> get({"concurrency": None}, "concurrency", "runs")
    """
    found: Any = settings
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def variables(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The environment variables that settings take a value from, each with the key that does.

    >>> list(variables({"storage": {"postgres": {"postgres_url": {"env": "PG_URL"}}}}))
    [('storage.postgres.postgres_url', 'PG_URL')]
    """
    if isinstance(settings, Mapping):
        if set(settings) == {"env"} and isinstance(settings["env"], str):
            yield key, settings["env"]
            return
        for name, value in settings.items():
            yield from variables(value, f"{key}.{name}" if key else str(name))
    elif isinstance(settings, list):
        for place, value in enumerate(settings):
            yield from variables(value, f"{key}[{place}]")


def unset_variables(settings: Any, environ: Mapping[str, str], key: str = "") -> Iterator[Misfit]:
    """The values that come from a variable which is not set."""
    for place, name in variables(settings, key):
        if not environ.get(name):
            said = f"comes from the environment's {name}, which is not set: set it where uad and its servers start"
            yield Misfit(place, said)
