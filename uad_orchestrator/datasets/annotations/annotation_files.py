"""Finding annotation files and reading their JSON; numbers in them are checked before anything is made of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from uad_orchestrator.datasets.annotations.marks import Annotations
from uad_orchestrator.datasets.problems import DatasetError

Content = TypeVar("Content")


class EntryError(ValueError):
    """One entry of an annotation file that cannot be read; the message says why."""


def files_below(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """The regular files below a folder with one of some extensions, sorted; hidden ones are passed over.

    Raises:
        DatasetError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be listed: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            if name.lower().endswith(tuple(suffixes)) and not name.startswith("."):
                path = Path(parent, name)
                if path.is_file():
                    yield path


def annotation_files(sources: Iterable[Path], suffix: str) -> list[Path]:
    """The files given, and those of an extension below the folders given.

    Raises:
        DatasetError: nothing stands there, or there is no such file in a folder.
    """
    found: dict[Path, None] = {}
    for source in sources:
        if source.is_dir():
            below = list(files_below(source, (suffix,)))
            if not below:
                raise DatasetError(
                    f"{source}: no {suffix} file below it; give the annotations' file or folder"
                )
            found.update(dict.fromkeys(below))
        elif source.is_file():
            found[source] = None
        else:
            raise DatasetError(f"{source}: no such file or folder; expected annotations")
    return list(found)


def contents_of_format(
    found: Annotations,
    sources: Sequence[Path],
    suffix: str,
    word: str,
    parse: Callable[[Annotations, Path], Content | None],
    fault: Callable[[Content], str],
) -> Iterator[tuple[Path, Content]]:
    """The contents of all annotation files that are of one format.

    A file of another one is a problem where it was given itself; beside others in a folder it is passed over, with a
    note.

    Args:
        found: takes the problems and notes.
        sources: the files and folders given.
        suffix: the format's extension.
        word: what the format is called.
        parse: gives a file's content; None, with the problem noted, where it has none.
        fault: why a content is not of the format; empty where it is.

    Returns:
        Each file with its content.

    Raises:
        DatasetError: as ``annotation_files``.
    """
    for path in annotation_files(sources, suffix):
        content = parse(found, path)
        if content is None:
            continue
        why = fault(content)
        if not why:
            yield path, content
        elif path in sources:
            found.complain(path, why)
        else:
            found.notes.append(f"{path} is not a {word} file: passed over")


def folder_below(sources: Sequence[Path], path: Path) -> str:
    """Where a file lies below the folder among the sources that holds it, posix; empty for a file given itself."""
    folders = (source for source in sources if path not in sources and path.is_relative_to(source))
    return next((path.parent.relative_to(folder).as_posix() for folder in folders), "")


def read_json_object(found: Annotations, path: Path) -> dict[str, Any] | None:
    """A file's JSON object; None, and a problem noted, where it holds none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        found.complain(path, f"cannot be read as JSON: {error}")
        return None
    if not isinstance(values, dict):
        found.complain(path, f"a JSON {type(values).__name__}; expected an object")
        return None
    return values


def number(value: Any, what: str) -> float:
    """A finite number.

    Raises:
        EntryError: it is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise EntryError(f"{what} is {value!r:.60}; expected a number") from None
    if isinstance(value, bool) or not math.isfinite(found):
        raise EntryError(f"{what} is {value!r:.60}; expected a finite number")
    return found


def whole_number(value: Any, what: str) -> int:
    """A whole number, of 0 or more.

    Raises:
        EntryError: it is none.
    """
    found = number(value, what)
    if not found.is_integer() or found < 0:
        raise EntryError(f"{what} is {value!r:.60}; expected a whole number of 0 or more")
    return int(found)


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """``(H, W)``; None where neither is said, or both are 0, as some tools write what they do not know."""
    if height in (None, "", 0, "0") and width in (None, "", 0, "0"):
        return None
    return whole_number(height, "height"), whole_number(width, "width")


def points_of(values: Any, what: str = "the polygon") -> np.ndarray:
    """``(n, 2)`` x and y from a flat list of numbers or a list of pairs; at least three points.

    Raises:
        EntryError: it is no such list.
    """
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise EntryError(f"{what} is {values!r:.60}; expected a list of x and y")
    flat: list[Any] = []
    for value in values:
        flat += value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(flat) % 2 or len(flat) < 6:
        raise EntryError(f"{what} has {len(flat)} numbers; expected x and y of at least three points")
    return np.array([number(value, "a coordinate") for value in flat], float).reshape(-1, 2)
