"""What is wrong or odd with a category's files, found before anything is computed from them.

Taken once per version of ``dataset_category``, errors each time they are asked for. Errors stop the category's cells,
in a refresh and a click alike; warnings go on, to the summary, the board and the report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from uad_orchestrator.datasets.checks.copies import find_copies, find_undecodable
from uad_orchestrator.datasets.checks.headers import check_category
from uad_orchestrator.datasets.checks.masks import check_masks
from uad_orchestrator.datasets.checks.remembered import Remember
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError, DatasetProblem, Severity
from uad_orchestrator.orchestration.cells.kept_findings import KeptFindings, kept_facts
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.storage.digests import digest_of

CHECKS_VERSION = 3
"""Raised when the checks find something else in the same files."""

CHECKS: Mapping[str, Callable[[Manifest, Remember], list[DatasetProblem]]] = {
    "missing": lambda manifest, remember: list(manifest.warnings),
    "files": lambda manifest, remember: check_category(manifest),
    "masks": check_masks,
    "pixels": find_undecodable,
    "copies": find_copies,
}
"""By the name that their warnings have."""


class DatasetFinding(BaseModel):
    """A problem of one file, and which check found it."""

    model_config = ConfigDict(frozen=True)

    check: str
    path: str
    message: str
    severity: Severity

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def dataset_findings(state: ProjectState, category: str) -> list[DatasetFinding]:
    """All findings on a category (``dataset/category``), errors and warnings.

    Raises:
        InputUnavailable: the category cannot be read at all.
    """
    version = state.input("dataset_category", Cell(category, "")).version
    dataset, local = category.partition("/")[0], Path(state.project.storage.local)
    limit = state.project.reading(dataset).max_megapixels  # changes no pixel, so no version has it
    rules = {**asdict(state.project.datasets[dataset].strictness), "max_megapixels": limit}
    key = digest_of({"checks": CHECKS_VERSION, "rules": rules, "dataset_category": version})
    kept = KeptFindings(local, DatasetFinding)
    return kept.get(category, key, lambda: _take(state.manifest(category), local), keep=_is_sound)


def refuse_faulty(state: ProjectState, category: str) -> None:
    """Stop before something is computed from files with errors.

    Raises:
        DatasetError: naming every fault.
    """
    if error := faults_among(dataset_findings(state, category), category):
        raise error


def faults_among(findings: Sequence[DatasetFinding], category: str) -> DatasetError | None:
    """The errors among the findings on a category as one, which names them all; None where there are none."""
    faults = [found for found in findings if found.severity == "error"]
    if not faults:
        return None
    problems = [DatasetProblem(fault.path, fault.message) for fault in faults]
    return DatasetError(f"{category} has errors, nothing is computed from it:", problems)


def category_warnings(findings: Sequence[DatasetFinding], category: str) -> list[CellWarning]:
    """The findings as the board and the report show them: those that say the same of several files are one."""
    together: dict[tuple[str, str], list[DatasetFinding]] = {}
    for found in findings:
        together.setdefault((found.check, _alike(found.message)), []).append(found)
    return [
        CellWarning(
            category=category,
            check=check,
            message=_said(alike, category),
            images=tuple(found.path for found in alike),
        )
        for (check, _), alike in together.items()
    ]


def _said(alike: Sequence[DatasetFinding], category: str) -> str:
    """Findings that say the same, in words; what is about the category as a whole need not name it again."""
    first = alike[0]
    if first.path == category.partition("/")[2]:
        return first.message
    return str(first) if len(alike) == 1 else f"{len(alike)} files, the first: {first}"


def _take(manifest: Manifest, local: Path) -> list[DatasetFinding]:
    findings: list[DatasetFinding] = []
    with kept_facts(local) as remember:
        for name, check in CHECKS.items():
            faulty = {found.path for found in findings if found.severity == "error"}
            findings += [
                DatasetFinding(check=name, path=found.path, message=found.message, severity=found.severity)
                for found in check(manifest, remember)
                if found.severity == "warning" or found.path not in faulty  # the first fault is the cause
            ]
    return findings


def _is_sound(findings: Sequence[DatasetFinding]) -> bool:
    """Whether there are no errors: those may be mended without a change of content, a file's permissions say."""
    return all(found.severity != "error" for found in findings)


def _alike(message: str) -> str:
    """A message without the numbers and files in it."""
    return re.sub(r"\S*/\S+|\d+", "", message)
