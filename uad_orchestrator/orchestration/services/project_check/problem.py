"""Something wrong or odd with a project, as ``uad check`` says it."""

from __future__ import annotations

from dataclasses import dataclass

from uad_orchestrator.datasets.problems import Severity


@dataclass(frozen=True)
class ProjectProblem:
    """Where it is, what is the matter, and whether it is an error or for a person to judge."""

    where: str
    problem: str
    severity: Severity = "error"

    def __str__(self) -> str:
        warning = "warning: " if self.severity == "warning" else ""
        return f"{warning}{self.where}: {self.problem}"
