"""What can be wrong with a dataset, said so that a person can act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from uad_orchestrator.storage.file_names import printable

_SHOWN = 20

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class DatasetProblem:
    """One thing wrong with one file or folder.

    Attributes:
        path: posix path relative to the dataset's root; ``.`` for the root itself.
        message: what is wrong, what was expected there, what to do.
        severity: an ``error`` stops the category; a ``warning`` is for the user to judge.
    """

    path: str
    message: str
    severity: Severity = "error"

    def __post_init__(self) -> None:
        for name in ("path", "message"):  # a file may be called anything, and this is printed
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class DatasetError(ValueError):
    """A dataset that is not what its layout says; the message has the first twenty faults.

    Args:
        summary: the message's first line.
        problems: every fault; kept as the attribute of that name.
    """

    def __init__(self, summary: str, problems: Sequence[DatasetProblem] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__(with_faults(summary, self.problems))


def with_faults(summary: str, faults: Sequence[object]) -> str:
    """A message with the first of its faults below it, a line each, and the number of the others."""
    lines = [summary, *(f"  {fault}" for fault in faults[:_SHOWN])]
    if len(faults) > _SHOWN:
        lines.append(f"  ... and {len(faults) - _SHOWN} more")
    return "\n".join(lines)
