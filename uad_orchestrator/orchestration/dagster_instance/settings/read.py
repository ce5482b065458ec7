"""Reads the settings of an instance, ``dagster.yaml``: as a mapping, the value at a path, the variables they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml


def read_settings(home: Path) -> Mapping[str, Any]:
    """What ``dagster.yaml`` of a home says; nothing where there is none.

    Raises:
        ValueError: it is no YAML, or no mapping.
        OSError: it cannot be read.
    """
    try:
        text = (home / "dagster.yaml").read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise ValueError(_said_by_yaml(error)) from error
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"expected a mapping, found {type(settings).__name__}")
    return settings or {}


def _said_by_yaml(error: yaml.YAMLError) -> str:
    """What is wrong, and where; without the line itself, which may hold a password."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is no YAML"
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}" if mark else str(said)


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
