"""Findings of checks, kept per category or cell until what they were taken of has another version.

They lie below ``<local>/findings``, a small file each, and can be lost: they are taken again then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from uad_orchestrator.storage.atomic import write_text

Finding = TypeVar("Finding")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: str
    findings: list[object]


class KeptFindings(Generic[Finding]):
    """Findings of one kind.

    Args:
        local: the project's local folder.
        kind: the findings' type.
    """

    def __init__(self, local: Path, kind: type[Finding]) -> None:
        self._folder = local / "findings"
        self._findings = TypeAdapter(list[kind])  # type: ignore[valid-type]

    def get(self, subject: str, version: str, take: Callable[[], list[Finding]]) -> list[Finding]:
        """The findings on a subject, taken where they are not kept in this version.

        Args:
            subject: ``dataset/category`` or ``dataset/category/detector``.
            version: of what the findings are taken of, and of the rules by which.
            take: takes them.
        """
        kept = self.last(subject, version)
        if kept is not None:
            return kept
        findings = take()
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
