"""Collects what is wrong with a project file while it is read, so that all of it can be said at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from uad_orchestrator.project.errors import (
    PUT_IN_QUOTES,
    Place,
    SettingProblem,
    model_problems,
    shown,
    switches_for_numbers,
)
from uad_orchestrator.project.parsing.names import name_fault
from uad_orchestrator.project.parsing.yaml_text import ProjectText

M = TypeVar("M", bound=BaseModel)


class Findings:
    """The problems found so far, and the text they are found in."""

    def __init__(self, text: ProjectText) -> None:
        self.text = text
        self.problems: list[SettingProblem] = []
        self.note(*text.problems)

    def add(self, place: Place, what: str, advice: str = "") -> None:
        """Note a problem at ``place``."""
        self.note(SettingProblem(place, what, advice))

    def note(self, *problems: SettingProblem) -> None:
        """Note problems; a line comes from the text unless the problem has one."""
        for problem in problems:
            self.problems.append(replace(problem, line=problem.line or self.text.line(problem.place)))

    def check(self, model: type[M], value: object, place: Place, also: Iterable[str] = ()) -> M | None:
        """``value`` as ``model``; None, with the problems noted, if it is none.

        ``also`` are keys that may stand beside the model's own, for what is said of an unknown one.
        """
        try:
            settings = model.model_validate(value)
        except ValidationError as error:
            self.note(*map(self._with_quotes, model_problems(error, model, value, place, also)))
            return None
        switches = [
            SettingProblem((*place, *inner), "is true or false where a number is expected")
            for inner in switches_for_numbers(model, value)
        ]
        self.note(*switches)
        return None if switches else settings

    def section(self, model: type[M], value: object, place: Place) -> M:
        """Like ``check`` for a section whose every key has a default; where it is wrong, the defaults."""
        return self.check(model, self.mapping(value, place), place) or model()

    def _with_quotes(self, problem: SettingProblem) -> SettingProblem:
        """Text that YAML takes for something else (01, no, 1e3) is to be quoted as it was written."""
        written = self.text.scalars.get(problem.place)
        if problem.advice != PUT_IN_QUOTES or written is None:
            return problem
        return replace(problem, advice=f"{PUT_IN_QUOTES}: '{written}'")

    def mapping(self, value: object, place: Place) -> dict[str, Any]:
        """``value`` if it is a mapping; an empty one if it is not there, or (noted) something else."""
        if isinstance(value, dict):
            return value
        if value is not None:
            self.add(place, f"is {shown(value)} where keys are expected")
        return {}

    def name(self, name: object, place: Place, kind: str) -> None:
        """Check a name that becomes a partition key and a folder."""
        if fault := name_fault(name):
            written = self.text.scalars.get(place)
            quoted = not isinstance(name, str) and written
            advice = f"{PUT_IN_QUOTES}: '{written}'" if quoted else "use letters, digits, _ and -"
            self.add(place, f"this {kind} name {fault}", advice)
