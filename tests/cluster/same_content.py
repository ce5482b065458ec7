"""What artifacts hold, bit by bit; only how long it took is left out, and who made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project

Contents = dict[str, dict[str, str]]


def contents(project: Project, detectors: str = "*") -> Contents:
    """Of every computed artifact in its present version the digests of its files, by its key.

    Args:
        project: whose cells.
        detectors: only those whose names are like that.

    Raises:
        KeyError: one is not there.
    """
    state, store = open_state(project), open_store(project)
    chosen = [cell for cell in state.cells if fnmatch(cell.detector, detectors)]
    keys = [cell.artifact_key(asset, state.version(asset, cell)) for cell in chosen for asset in STAGES]
    return {str(key): _digests(store.open_dir(key)) for key in keys}


def differences(ours: Contents, theirs: Contents) -> list[str]:
    """A line for each file that one side has alone, or has otherwise."""
    flat = [
        {(key, name): d for key, files in side.items() for name, d in files.items()}
        for side in (ours, theirs)
    ]
    differ = sorted(
        place for place in flat[0].keys() | flat[1].keys() if flat[0].get(place) != flat[1].get(place)
    )
    return [f"{name} of {key} differs" for key, name in differ]


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            _TIMELESS.get(path.name, Path.read_bytes)(path)
        ).hexdigest()
        for path in files
    }


def _scores(path: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path).drop_columns(["seconds"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _metrics(path: Path) -> bytes:
    report: Mapping[str, Any] = json.loads(path.read_text())
    return json.dumps({name: value for name, value in report.items() if name != "timings"}).encode()


_TIMELESS: dict[str, Callable[[Path], bytes]] = {"scores.parquet": _scores, "metrics.json": _metrics}
