"""Where an export goes: written aside, put in its place when it is whole, and never over somebody else's files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD = "uad_export.json"
"""In an exported folder, and as ``<file>.uad_export.json`` beside an exported file: what was exported, from what."""


@contextmanager
def new_folder(output: Path, kind: str, record: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to fill; when the block ends it takes the place of ``output``, an earlier export of this kind.

    Raises:
        FileExistsError: ``output`` is there and is no such export.
    """
    if output.is_dir() and any(output.iterdir()):
        _refuse_foreign(output, output / RECORD, kind)
    elif output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file: choose another --output")
    aside, old = _aside(output), _aside(output, "old")
    aside.mkdir(parents=True)
    try:
        yield aside
        _write_record(aside / RECORD, kind, record)
        if output.exists():
            output.rename(old)
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def new_file(output: Path, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A file to write and a record to fill; when the block ends they take the place of ``output``.

    Raises:
        FileExistsError: ``output`` is there and is no such export.
    """
    beside = output.with_name(f"{output.name}.{RECORD}")
    if output.exists():
        _refuse_foreign(output, beside, kind)
    aside = _aside(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {}
    try:
        yield aside, record
        _write_record(beside, kind, record)
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)


def _aside(output: Path, word: str = "new") -> Path:
    return output.with_name(f".{output.name}.{word}.{os.getpid()}")


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
    path.write_text(json.dumps({"export": kind, **record}, indent=1, allow_nan=False) + "\n")
