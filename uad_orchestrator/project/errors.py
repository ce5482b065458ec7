"""What can be wrong with a project file, in words a person can act on: place, line, nearest valid word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from uad_orchestrator.spelling import choose_from, did_you_mean

Place = tuple[str | int, ...]
"""Where an entry stands: ``("detectors", "patchcore", "coreset", "ratio")``; list positions count from 0."""

PUT_IN_QUOTES = "put it in quotes"
OR_INSTALL = "; if another package brings it, install that one"


@dataclass(frozen=True)
class SettingProblem:
    """One thing wrong.

    Attributes:
        place: where in the file, key by key; list positions count from 0.
        what: what is wrong.
        advice: what to do about it.
        line: of the file, from 1; None where it has none.
    """

    place: Place
    what: str
    advice: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line else []
        if self.place:
            where.append(dotted(self.place))
        message = f"{', '.join(where)}: {self.what}" if where else self.what
        return f"{message}; {self.advice}" if self.advice else message


SHOWN_PROBLEMS = 200
"""Problems of a project file that are listed; a list of three thousand values, each wrong, hides all others."""


class ProjectError(Exception):
    """A project file that cannot be used; lists every problem found, in the file's order.

    Args:
        path: the file.
        problems: all that is wrong; kept, sorted by line, as the attribute of that name.
    """

    def __init__(self, path: Path, problems: Iterable[SettingProblem]) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda p: (p.line or 0, dotted(p.place))))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if (more := len(self.problems) - SHOWN_PROBLEMS) > 0:
            lines.append(f"  ... and {more} more")
        super().__init__("\n".join([f"{path}: {count}", *lines]))


def dotted(place: Place) -> str:
    """A place as people write it.

    >>> dotted(("presets", "camera", 0, "white_balance"))
    'presets.camera[0].white_balance'
    """
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value for a message: short, and without the credentials a URL may carry.

    >>> shown("s3://key@bucket/a?sig=1")
    "'s3://***@bucket/a?***'"
    """
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None:
        return "empty"
    text = value if isinstance(value, str) else str(value)
    if "://" in text:
        text = re.sub(r"://[^/@]*@", "://***@", text)
        text = re.sub(r"\?.*", "?***", text)
    text = text if len(text) <= 80 else text[:77] + "..."
    return repr(text) if isinstance(value, str) else text


def model_problems(
    error: ValidationError, model: type[BaseModel], value: object, place: Place, also: Iterable[str] = ()
) -> Iterator[SettingProblem]:
    """A pydantic error as problems; ``also`` are words valid beside the model's own at its top level.

    Errors of a union's branches, which pydantic lists one by one, become one problem.
    """
    found: dict[Place, list[Mapping[str, Any]]] = {}
    for item in error.errors(include_url=False):
        found.setdefault(_path_in(value, item), []).append(item)
    for path, items in found.items():
        siblings = _keys_at(model, path[:-1]) + (tuple(also) if len(path) == 1 else ())
        whats = dict.fromkeys(_what(item) for item in items)
        yield SettingProblem(
            (*place, *path), _joined(whats), _advice(items[0], path, siblings, _keys_at(model, path))
        )


def _path_in(value: object, item: Mapping[str, Any]) -> Place:
    """The error's place in ``value``: pydantic's loc without the names of a union's branches."""
    path: list[str | int] = []
    for part in item["loc"]:
        if _holds(value, part):
            value = value[part]  # type: ignore[index]
        elif not (item["type"] == "missing" and part == item["loc"][-1]):
            continue
        path.append(part)
    return tuple(path)


def _holds(value: object, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _what(item: Mapping[str, Any]) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "is missing"
        case "value_error":
            return str(item["ctx"]["error"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"is {shown(item['input'])} where keys are expected"
    expected = item["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    expected = expected.partition(", unable to parse")[0].replace("a valid tuple", "a list")
    return f"is {shown(item['input'])}, should be {expected}"


def _joined(whats: Iterable[str]) -> str:
    """Several branches' complaints about one value as one: "is 'x', should be a or b"."""
    first, *others = whats
    return " or ".join([first, *(other.partition(", should be ")[2] or other for other in others)])


def _advice(item: Mapping[str, Any], path: Place, siblings: Sequence[str], inner: Sequence[str]) -> str:
    match item["type"]:
        case "extra_forbidden":
            return choose_from(path[-1], siblings)
        case "missing":
            return f"add `{path[-1]}:`"
        case "literal_error":
            return did_you_mean(item["input"], re.findall(r"'([^']*)'", item["ctx"]["expected"]))
        case "string_type" if not isinstance(item["input"], Mapping | list):
            return PUT_IN_QUOTES
        case "model_type" | "model_attributes_type" if inner:
            return "valid keys: " + ", ".join(sorted(inner))
    return ""


def _keys_at(model: type[BaseModel], path: Place) -> tuple[str, ...]:
    """The keys valid below ``path`` of ``model``; of every model that may stand there."""
    models = [model]
    for part in path:
        if isinstance(part, int):
            continue
        models = [
            inner
            for outer in models
            if part in outer.model_fields
            for inner in models_in(outer.model_fields[part].annotation)
        ]
    return tuple(dict.fromkeys(key for m in models for key in m.model_fields))


def switches_for_numbers(model: type[BaseModel], value: object) -> Iterator[Place]:
    """Where ``value`` holds true or false for a number: pydantic would read them as 1 and 0."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if key not in model.model_fields:
            continue
        annotation = model.model_fields[key].annotation
        if isinstance(inner, bool) and bool not in _types_in(annotation):
            yield (key,)
        for part in models_in(annotation):
            yield from ((key, *rest) for rest in switches_for_numbers(part, inner))


def _types_in(annotation: object) -> set[object]:
    arguments = get_args(annotation)
    return {annotation} | {t for argument in arguments for t in _types_in(argument)}


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The pydantic models an annotation names, through unions, lists and tuples."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]
