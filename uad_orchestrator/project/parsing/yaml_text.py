"""Reads uad.yaml: its values, and the line on which each of them stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from uad_orchestrator.project.errors import Place, SettingProblem

MAX_ENTRIES = 100_000
"""Aliases can make a few lines stand for billions of entries; no project file is this long."""


@dataclass(frozen=True)
class ProjectText:
    """A parsed project file.

    Attributes:
        path: the file, for messages.
        values: its content; empty where the file holds nothing or could not be parsed.
        lines: the line (from 1) of every entry, by its place.
        scalars: the text of every plain entry as it was written, by its place (``01`` parses to 1).
        problems: what was wrong already with the text: syntax, duplicate keys, keys that are not words.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[Place, int] = field(default_factory=dict)
    scalars: Mapping[Place, str] = field(default_factory=dict)
    problems: tuple[SettingProblem, ...] = ()

    def line(self, place: Place) -> int | None:
        """The line of the entry at ``place``, or of the closest one above it that the file has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


def parse_project(text: str, path: Path) -> ProjectText:
    """Parse the text of a project file; everything wrong with it is in ``problems``, nothing is raised."""
    try:
        return _parsed(text, path)
    except yaml.YAMLError as error:
        problem = _syntax_problem(error)
    except RecursionError:
        problem = SettingProblem((), "is nested too deeply for a project file")
    except ValueError as error:  # a date that does not exist
        problem = SettingProblem((), f"cannot be read as YAML: {error}")
    return ProjectText(path, problems=(problem,))


def _parsed(text: str, path: Path) -> ProjectText:
    loader = yaml.SafeLoader(text)
    root = loader.get_single_node()
    if root is None:
        return ProjectText(path)
    lines, scalars, problems = _walk(root)
    if problems:  # keys that clash or cannot be names: the values would be a guess
        return ProjectText(path, {}, lines, scalars, tuple(problems))
    values = loader.construct_document(root)
    if not isinstance(values, dict):
        what = f"holds a {type(values).__name__} where keys are expected"
        return ProjectText(
            path, problems=(SettingProblem((), what, "start from the file `uad init` writes", 1),)
        )
    return ProjectText(path, values, lines, scalars)


def _walk(root: yaml.Node) -> tuple[dict[Place, int], dict[Place, str], list[SettingProblem]]:
    lines: dict[Place, int] = {}
    scalars: dict[Place, str] = {}
    problems: list[SettingProblem] = []
    for place, node, line, problem in _entries(root, (), root.start_mark.line + 1, ()):
        lines.setdefault(place, line)
        if isinstance(node, yaml.ScalarNode):
            scalars.setdefault(place, node.value)
        if problem:
            problems.append(problem)
        if len(lines) > MAX_ENTRIES:
            return (
                lines,
                scalars,
                [SettingProblem((), f"has more than {MAX_ENTRIES} entries (aliases of aliases?)")],
            )
    return lines, scalars, problems


def _entries(
    node: yaml.Node, place: Place, line: int, above: tuple[int, ...]
) -> Iterator[tuple[Place, yaml.Node, int, SettingProblem | None]]:
    """Every entry below ``node``: its place, node, line, and what is wrong with its key."""
    if id(node) in above:
        yield place, node, line, SettingProblem(place, "refers to itself by an alias", "write it out", line)
        return
    yield place, node, line, None
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _entries(item, (*place, i), item.start_mark.line + 1, above)
    elif isinstance(node, yaml.MappingNode):
        yield from _mapping_entries(node, place, above)


def _mapping_entries(
    node: yaml.MappingNode, place: Place, above: tuple[int, ...]
) -> Iterator[tuple[Place, yaml.Node, int, SettingProblem | None]]:
    first: dict[str, int] = {}
    merged = []
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == "tag:yaml.org,2002:merge":
            merged.append(value)
            continue
        word = str(key.value)
        problem = None
        if key.tag != "tag:yaml.org,2002:str":
            problem = SettingProblem(
                (*place, word), "the key is not text for YAML", f"put it in quotes: '{word}'", line
            )
        elif word in first:
            what = f"the key stands here twice; it stood on line {first[word]} already"
            problem = SettingProblem((*place, word), what, "keep one of the two", line)
        first.setdefault(word, line)
        if problem:
            yield (*place, word), value, line, problem
        else:
            yield from _entries(value, (*place, word), line, above)
    for value in merged:  # last: an entry's own keys win over merged ones
        yield from _entries(value, place, value.start_mark.line + 1, above)


def _syntax_problem(error: yaml.YAMLError) -> SettingProblem:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "a syntax error"
    context = getattr(error, "context", None)
    what = f"not valid YAML: {reason}" + (f" ({context})" if context else "")
    advice = "check indentation (spaces, no tabs), colons and brackets on this line and the one above"
    if "escape" in reason:  # as in "C:\Users"
        advice = "in double quotes a backslash begins an escape: write single quotes, or / instead"
    return SettingProblem((), what, advice, mark.line + 1 if mark else None)
