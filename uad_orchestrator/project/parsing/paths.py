"""Paths that no file system can have, found before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uad_orchestrator.project.errors import Place, SettingProblem, shown

_PATHS = ("root", "local", "incoming", "weights", "checkpoint", "folder", "path", "roots", "records")
"""The keys that hold paths."""


def impossible_paths(values: Any, place: Place = ()) -> Iterator[SettingProblem]:
    """Texts with a NUL character, and paths of a user that there is not, at any depth of a project file."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from impossible_paths(value, (*place, key))
    elif isinstance(values, list):
        for i, value in enumerate(values):
            yield from impossible_paths(value, (*place, i))
    elif isinstance(values, str):
        if "\0" in values:
            yield SettingProblem(
                place, f"{shown(values)} holds a NUL character", 'write `\\\\` for `\\` in "..."'
            )
        elif values.startswith("~") and any(key in _PATHS for key in place):
            try:
                Path(values).expanduser()
            except RuntimeError:
                yield SettingProblem(
                    place, f"{shown(values)}: there is no such user", "write the path in full"
                )
