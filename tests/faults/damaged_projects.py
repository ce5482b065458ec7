"""Project files that somebody mistyped or made up to do harm: a project, or errors that name key and line."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.faults.damage import flipped
from tests.faults.damaged_files import NAMED, Files
from tests.faults.outcomes import Outcome
from tests.project.test_errors import CATALOGUE, EVERY_KEY
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.project.errors import ProjectError
from uad_orchestrator.project.parsing.reading import project_from_text

ACCEPTED = "read as a project"

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 10**400, 1e308, float("nan"), float("inf"), "", " ", "nan", "1e3", "\x00", "ä" * 300,
    "../../..", "/", "~nobody/x", "file:///etc/passwd", "0 0 31 2 *", [], {}, [[]], [None], {"a": 1}, [1] * 3000,
    {"": ""}, {1: 2}, "{dataset}", "{0.__class__}", "%s%s%n", "2026-11-27", "0x1f", "x" * 100_000,
)  # fmt: skip
"""Values that stand where others are meant."""

Edit = Callable[[str, random.Random, Path], str]


def try_project(files: Files, draws: random.Random, seed: int) -> Outcome:
    """A changed project file: read, and assembled into a code location where it is accepted."""
    how = draws.choice(sorted(EDITS))
    text = EDITS[how](EVERY_KEY, draws, files.canary)
    what = f"project file: {how}"
    try:
        project = project_from_text(text, files.folder, CATALOGUE, allow_missing_files=True)
    except ProjectError as error:
        said = str(error)
        named = "uad.yaml" in said and error.problems
        short = len(said) < 100_000
        fault = None if named and short else f"the error does not say what is wrong: {said[:300]}"
        return Outcome(what, NAMED, seed, fault)
    build_definitions(project)
    return Outcome(what, ACCEPTED, seed)


def values_replaced(text: str, draws: random.Random, canary: Path) -> str:
    """One to three values, of any depth, are something else."""
    values = yaml.safe_load(text)
    for _ in range(draws.randint(1, 3)):
        holder, key = draws.choice(list(_places(values)))
        holder[key] = draws.choice(ODD)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def keys_added(text: str, draws: random.Random, canary: Path) -> str:
    """Keys that are unknown, or no words, or another place's."""
    values = yaml.safe_load(text)
    holders = [values, *(holder[key] for holder, key in _places(values) if isinstance(holder[key], dict))]
    key = draws.choice(["", "x", 1, None, True, 1.5, "datasets", "__class__", "a" * 5000, "preset", "../x"])
    draws.choice(holders)[key] = draws.choice(ODD)
    return yaml.safe_dump(values, sort_keys=False)


def keys_removed(text: str, draws: random.Random, canary: Path) -> str:
    """A key, or an element of a list, is missing."""
    values = yaml.safe_load(text)
    holder, key = draws.choice(list(_places(values)))
    del holder[key]
    return yaml.safe_dump(values, sort_keys=False)


def names_replaced(text: str, draws: random.Random, canary: Path) -> str:
    """A dataset, preset or detector has an odd name."""
    values = yaml.safe_load(text)
    section = values[draws.choice(["datasets", "presets", "detectors"])]
    entry = section.pop(next(iter(section)))
    section[
        draws.choice(["", "..", "a/b", "a|b", "x" * 300, "\n", "CON", 1, None, "ä", "a b", "*", "[1]"])
    ] = entry
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def lines_moved(text: str, draws: random.Random, canary: Path) -> str:
    """Lines twice, in another order, or indented otherwise."""
    lines = text.splitlines()
    place = draws.randrange(len(lines))
    change = draws.choice(["twice", "indented", "tab", "swapped"])
    if change == "twice":
        lines.insert(draws.randrange(len(lines)), lines[place])
    elif change == "swapped":
        other = draws.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines[place] = (" " if change == "indented" else "\t") + lines[place]
    return "\n".join(lines) + "\n"


def characters_changed(text: str, draws: random.Random, canary: Path) -> str:
    """Bits flipped in the text."""
    return flipped(text.encode(), draws).decode("utf-8", errors="replace")


def bombs(text: str, draws: random.Random, canary: Path) -> str:
    """Aliases that grow a billionfold, a nest a thousand deep, an alias of itself."""
    layers = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    return draws.choice(
        [
            f"{text}bomb:\n  a0: &a0 [x]\n{layers}",
            f"{text}presets: {'[' * 1000}{']' * 1000}\n",
            f"{text}bomb: &a [*a]\n",
            f"{text}bomb: &a\n  <<: *a\n",
            f"{text}bomb: {'{a: ' * 1000}1{'}' * 1000}\n",
            f"{text}bomb: {'9' * 100_000}\n",
        ]
    )


def traps(text: str, draws: random.Random, canary: Path) -> str:
    """Tags by which a trusting YAML reader runs code."""
    tag = draws.choice(
        [
            f"!!python/object/apply:os.system ['touch {canary}']",
            f"!!python/object/new:os.system ['touch {canary}']",
            f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{canary}']]",
            "!!python/name:os.system",
            "!!python/module:os",
        ]
    )
    lines = text.splitlines()
    place = draws.choice([n for n, line in enumerate(lines) if not line.rstrip().endswith(":")])
    lines[place] = f"{lines[place].partition(':')[0]}: {tag}"
    return "\n".join(lines) + "\n"


EDITS: dict[str, Edit] = {
    edit.__name__.replace("_", " "): edit
    for edit in (
        values_replaced, keys_added, keys_removed, names_replaced, lines_moved, characters_changed, bombs, traps,
    )
}  # fmt: skip


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    """Every (mapping or list, key or index) of a nest."""
    keys = (
        list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    )
    for key in keys:
        yield values, key
        yield from _places(values[key])
