"""Findings of checks, kept per category or cell until what they were taken of has another version.

They lie below ``<local>/findings``, a small file each, beside what was found out about the content of single files:
when one image of a category changes, the others are not decoded again. All of it can be lost: it is taken anew then.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from uad_orchestrator.storage.atomic import write_text

Finding = TypeVar("Finding")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: str
    findings: list[object]


@contextmanager
def kept_facts(local: Path) -> Iterator[Callable[[str, Callable[[], Any]], Any]]:
    """What is known of files' contents (``checks.remembered.Remember``); new facts are written when it is left.

    May be asked by several threads. A file of facts that is damaged, or must not be written to, counts as empty.

    Args:
        local: the project's local folder.
    """
    path, found = local / "findings" / "contents.sqlite", dict[str, Any]()
    known = _read_facts(path)

    def remember(key: str, find: Callable[[], Any]) -> Any:
        if key in known:
            return json.loads(known[key])
        if key not in found:
            found[key] = find()
        return found[key]

    yield remember
    if found:
        _write_facts(path, {key: json.dumps(fact) for key, fact in found.items()})


def _read_facts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return dict(connection.execute("SELECT key, fact FROM fact"))
    except sqlite3.DatabaseError:
        return {}


def _write_facts(path: Path, facts: dict[str, str]) -> None:
    with suppress(OSError, sqlite3.DatabaseError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS fact (key TEXT PRIMARY KEY, fact TEXT) WITHOUT ROWID"
            )
            connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts.items())


class KeptFindings(Generic[Finding]):
    """Findings of one kind.

    Args:
        local: the project's local folder.
        kind: the findings' type.
    """

    def __init__(self, local: Path, kind: type[Finding]) -> None:
        self._folder = local / "findings"
        self._findings = TypeAdapter(list[kind])  # type: ignore[valid-type]

    def get(
        self,
        subject: str,
        version: str,
        take: Callable[[], list[Finding]],
        keep: Callable[[Finding], bool] = lambda _: True,
    ) -> list[Finding]:
        """The findings on a subject, taken where they are not kept in this version.

        Args:
            subject: ``dataset/category`` or ``dataset/category/detector``.
            version: of what the findings are taken of, and of the rules by which.
            take: takes them.
            keep: whether a finding may be kept; with one that may not, all are taken anew the next time.
        """
        kept = self.last(subject, version)
        if kept is not None:
            return kept
        findings = take()
        if not all(map(keep, findings)):
            return findings
        kept_now = _Kept(version=version, findings=self._findings.dump_python(findings, mode="json"))
        with suppress(OSError):  # a local folder that must not be written to costs time only
            write_text(self._path(subject), kept_now.model_dump_json())
        return findings

    def last(self, subject: str, version: str) -> list[Finding] | None:
        """The findings kept on a subject in this version; None where there are none."""
        try:
            kept = _Kept.model_validate_json(self._path(subject).read_bytes())
            return self._findings.validate_python(kept.findings) if kept.version == version else None
        except (OSError, ValidationError):
            return None

    def _path(self, subject: str) -> Path:
        return self._folder / f"{subject}.json"
