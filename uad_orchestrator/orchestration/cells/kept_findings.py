"""Findings of checks, kept per category or cell until what they were taken of has another version.

They lie below ``<local>/findings``, a small file each, beside what was found out about the content of single files:
when one image of a category changes, the others are not decoded again. All of it can be lost: it is taken anew then.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from uad_orchestrator.datasets.checks.remembered import Remember
from uad_orchestrator.storage.atomic import write_text

Finding = TypeVar("Finding")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: str
    findings: list[object]


@contextmanager
def kept_facts(local: Path) -> Iterator[Remember]:
    """What is known of files' contents; new facts are written when it is left, whatever it is left by.

    May be asked by several threads. A file of facts that is damaged, or must not be written to, counts as empty.

    Args:
        local: the project's local folder.
    """
    path, found = local / "findings" / "contents.sqlite", dict[str, Any]()
    lock = Lock()

    def remember(key: str, find: Callable[[], Any]) -> Any:
        with lock:
            known = found[key] if key in found else _read_fact(connection, key)
        if known is None:
            known = find()
            found[key] = known
        return known

    # a fact at a time: those of all other categories are in the file, too
    with closing(
        sqlite3.connect(path if path.is_file() else ":memory:", 30, check_same_thread=False)
    ) as connection:
        try:
            yield remember
        finally:
            if found:
                _write_facts(path, {key: json.dumps(fact) for key, fact in found.items()})


def _read_fact(connection: sqlite3.Connection, key: str) -> Any:
    """None where it is not known."""
    try:
        row = connection.execute("SELECT fact FROM fact WHERE key = ?", (key,)).fetchone()
    except sqlite3.DatabaseError:
        return None
    return None if row is None else json.loads(row[0])


def _write_facts(path: Path, facts: dict[str, str]) -> None:
    """A damaged file is taken away, so that the next facts are kept; they are no more than time saved."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS fact (key TEXT PRIMARY KEY, fact TEXT) WITHOUT ROWID"
            )
            connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts.items())
    except (
        OSError,
        sqlite3.OperationalError,
    ):  # a folder that must not be written to, a file that another one holds
        return
    except sqlite3.DatabaseError:
        with suppress(OSError):
            path.unlink()


@cache
def _list_of(kind: type[Any]) -> TypeAdapter[Any]:
    """Built once a kind: a board asks for each of its cells."""
    return TypeAdapter(list[kind])  # type: ignore[valid-type]


class KeptFindings(Generic[Finding]):
    """Findings of one kind.

    Args:
        local: the project's local folder.
        kind: the findings' type.
    """

    def __init__(self, local: Path, kind: type[Finding]) -> None:
        self._folder = local / "findings"
        self._findings = _list_of(kind)  # type: ignore[arg-type]

    def get(
        self,
        subject: str,
        version: str,
        take: Callable[[], list[Finding]],
        keep: Callable[[list[Finding]], bool] = lambda findings: True,
    ) -> list[Finding]:
        """The findings on a subject, taken where they are not kept in this version.

        Args:
            subject: ``dataset/category`` or ``dataset/category/detector``.
            version: of what the findings are taken of, and of the rules by which.
            take: takes them.
            keep: whether they are kept; else they are taken anew the next time.
        """
        kept = self._last(subject, version)
        if kept is not None:
            return kept
        findings = take()
        if not keep(findings):
            return findings
        kept_now = _Kept(version=version, findings=self._findings.dump_python(findings, mode="json"))
        with suppress(OSError):  # a local folder that must not be written to costs time only
            write_text(self._path(subject), kept_now.model_dump_json())
        return findings

    def _last(self, subject: str, version: str) -> list[Finding] | None:
        """The findings kept on a subject in this version; None where there are none."""
        try:
            kept = _Kept.model_validate_json(self._path(subject).read_bytes())
            return self._findings.validate_python(kept.findings) if kept.version == version else None
        except (OSError, ValidationError):
            return None

    def _path(self, subject: str) -> Path:
        return self._folder / f"{subject}.json"
