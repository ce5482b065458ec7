"""Parts of the project file that this version does not act on yet: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from uad_orchestrator.project.catalogue import Catalogue
from uad_orchestrator.project.errors import Place, Problem

KEYS: dict[Place, str] = {}

MODELS = frozenset({"vision_rad"})


def built(keys: Iterable[str], at: Place) -> list[str]:
    """Those of ``keys`` at a place that this version acts on; ``*`` stands for any name in the place."""
    return [key for key in keys if (*at, key) not in KEYS]


def not_built_problems(values: Mapping[str, Any], catalogue: Catalogue) -> Iterator[Problem]:
    """A problem for every entry of the file that a later version will act on."""
    for pattern, subject in KEYS.items():
        for place, _ in _matches(values, pattern, ()):
            yield Problem(place, f"not built yet in this version: {subject}", "take the key out")
    for place, model in _matches(values, ("detectors", "*", "model"), ()):
        if str(model) in MODELS and model not in catalogue.detectors:
            there = ", ".join(sorted(catalogue.detectors))
            yield Problem(
                place, f"not built yet in this version: the detector {model}", f"there are: {there}"
            )


def _matches(values: object, pattern: Place, place: Place) -> Iterator[tuple[Place, object]]:
    if not pattern:
        yield place, values
    elif isinstance(values, Mapping):
        head, *rest = pattern
        for key in values if head == "*" else {head} & values.keys():
            yield from _matches(values[key], tuple(rest), (*place, key))
