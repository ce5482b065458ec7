"""Where a component is described: its file, to which relative paths in it refer."""

from __future__ import annotations

from pathlib import Path

import dagster as dg


def place_of(context: dg.ComponentLoadContext) -> Path:
    """The ``defs.yaml`` of a component, or the Python file that makes it."""
    path = context.component_path.file_path  # of a defs.yaml, its folder
    return path if path.is_file() else path / "defs.yaml"
