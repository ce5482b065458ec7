"""Where an export goes: written aside, put in its place when it is whole, and never over somebody else's files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.atomic import new_file, new_folder, write_text

RECORD = "uad_export.json"
"""In an exported folder, and as ``<file>.uad_export.json`` beside an exported file: what was exported, from what."""


@contextmanager
def export_folder(output: Path, kind: str, record: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to fill; when the block ends it takes the place of ``output``, an earlier export of this kind.

    Raises:
        FileExistsError: ``output`` is there and is no such export.
    """
    if output.is_dir() and any(output.iterdir()):
        _refuse_foreign(output, output / RECORD, kind)
    elif output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file: choose another --output")
    with new_folder(output) as aside:
        yield aside
        _write_record(aside / RECORD, kind, record)


@contextmanager
def export_file(output: Path, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A file to write and a record to fill; when the block ends they take the place of ``output``.

    Raises:
        FileExistsError: ``output`` is there and is no such export.
    """
    beside = output.with_name(f"{output.name}.{RECORD}")
    if output.exists():
        _refuse_foreign(output, beside, kind)
    record: dict[str, Any] = {}
    with new_file(output) as aside:
        yield aside, record
        _write_record(beside, kind, record)


def _refuse_foreign(output: Path, record: Path, kind: str) -> None:
    try:
        ours = json.loads(record.read_text())["export"] == kind
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise FileExistsError(
            f"{output} is there already and was not written by `uad export {kind}`: choose another --output, "
            "or remove it"
        )


def _write_record(path: Path, kind: str, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps({"export": kind, **record}, indent=1, allow_nan=False) + "\n")
