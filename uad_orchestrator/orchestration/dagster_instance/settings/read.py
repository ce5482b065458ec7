"""Reads the settings of an instance, ``dagster.yaml``: as a mapping, the value at a path, the variables they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml


def read_settings(home: Path) -> Mapping[str, Any]:
    """What ``dagster.yaml`` of a home says; nothing where there is none.

    Raises:
        ValueError: it is no YAML, or no mapping, or has a value that holds itself.
        OSError: it cannot be read.
    """
    try:
        text = (home / "dagster.yaml").read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise ValueError(_said_by_yaml(error)) from error
    except RecursionError:
        raise ValueError("it is nested too deeply for settings") from None
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"expected a mapping, found {type(settings).__name__}")
    if (key := _circle(settings, "", (), set())) is not None:
        raise ValueError(f"{key} refers to itself by an alias: write it out")
    return settings or {}


def _circle(value: Any, key: str, above: tuple[int, ...], seen: set[int]) -> str | None:
    """The key of a value that holds itself, if there is one: whoever walks over the settings would never end."""
    if id(value) in above:
        return key
    if id(value) in seen:
        return None
    seen.add(id(value))
    found = (_circle(below, place, (*above, id(value)), seen) for place, below in _entries(value, key))
    return next((one for one in found if one is not None), None)


def _entries(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """What a value holds, each with its key: ``runs.limits[0]``."""
    if isinstance(value, Mapping):
        yield from ((f"{key}.{name}" if key else str(name), below) for name, below in value.items())
    elif isinstance(value, list):
        yield from ((f"{key}[{place}]", below) for place, below in enumerate(value))


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
    if isinstance(settings, Mapping) and set(settings) == {"env"} and isinstance(settings["env"], str):
        yield key, settings["env"]
    else:
        for place, below in _entries(settings, key):
            yield from variables(below, place)
