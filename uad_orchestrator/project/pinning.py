"""Writes an operating point into uad.yaml: one entry changes, every other byte of the file stays as it is.

The file belongs to people, with its comments, blank lines and columns. So it is not written anew from its values: the
place of the entry is taken from the parser, and the text is changed there alone. What comes out is parsed again, and
has to say what the file said before, but for that entry.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from uad_orchestrator.metrics.thresholds.operating_point import Pin
from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.parsing.operating_points import SECTION
from uad_orchestrator.project.parsing.reading import project_from_text
from uad_orchestrator.project.settings import PROJECT_FILE
from uad_orchestrator.storage.atomic import new_file
from uad_orchestrator.storage.regular_file import read_regular

Of = Literal["image", "pixel"]
"""Which threshold: of image scores, or of the values of anomaly maps."""

_BOM = "\ufeff"


class PinningError(RuntimeError):
    """The project file was not changed; the message says why."""


def write_pin(
    home: Path, category: str, detector: str, of: Of, pin: Pin | None, *, dry_run: bool = False
) -> str:
    """Write a threshold that people chose into the project file, or take it out.

    Args:
        home: the folder of the project file.
        category: the cell's, ``dataset/category``.
        detector: the cell's.
        of: which of its thresholds.
        pin: what was chosen; None: the calibrated one holds again.
        dry_run: change nothing, but do all else.

    Returns:
        the file's text with the change.

    Raises:
        PinningError: the file was changed by others meanwhile, must not be written to, or its text cannot be changed in
            one place.
        ProjectError: the project would be wrong with it.
    """
    from filelock import FileLock

    path = (home / PROJECT_FILE).resolve()  # a link stays one
    before = read_regular(path)
    text = before.decode("utf-8")
    changed = with_pin(text, (SECTION, category, detector, of), pin)
    catalogue = installed_catalogue()
    project = project_from_text(changed.removeprefix(_BOM), home, catalogue, allow_missing_files=True)
    if dry_run or changed == text:
        return changed
    if not os.access(path, os.W_OK):  # it could be replaced all the same
        raise PinningError(
            f"{path} is read-only: nothing was written; let it be written to, then run the command again"
        )
    local = Path(project.storage.local)
    local.mkdir(parents=True, exist_ok=True)
    only_writer = FileLock(local / "project_file.lock")  # of two at once the second sees the first
    with only_writer, new_file(path) as aside:
        aside.write_bytes(changed.encode("utf-8"))
        shutil.copymode(path, aside)
        if read_regular(path) != before:
            raise PinningError(
                f"{path} was changed while the threshold was computed: nothing was written; run the command again"
            )
    return changed


def with_pin(text: str, place: Sequence[str], pin: Pin | None) -> str:
    r"""The text of a project file with an entry set, or taken out.

    Args:
        text: of the file.
        place: the entry's keys, from the top.
        pin: what stands there then; None: nothing.

    Returns:
        the text.

    Raises:
        PinningError: more than the entry would change: it is written in a way that cannot be edited in one place.

    >>> from datetime import date
    >>> pin = Pin(threshold=0.4, by="anna", at=date(2026, 11, 27))
    >>> print(with_pin("costs: {}   # to be told\n", ("operating_points", "line7/lid", "patchcore", "image"), pin))
    costs: {}   # to be told
    <BLANKLINE>
    operating_points:
      line7/lid:
        patchcore:
          image: {threshold: 0.4, by: anna, at: 2026-11-27}
    <BLANKLINE>
    """
    values = yaml.safe_load(text) or {}
    entry = None if pin is None else pin.model_dump(mode="python", exclude_defaults=True)
    wanted = _changed(values, place, entry)
    if wanted == values:
        return text
    root = yaml.compose(text, yaml.SafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    edited = _removed(text, root, place) if entry is None else _set(text, root, place, entry, newline)
    if _parsed(edited) != wanted:
        said = "take it out" if entry is None else f"write {_flow({place[-1]: entry})[1:-1]} there"
        raise PinningError(
            f"{PROJECT_FILE}: {'.'.join(place)} cannot be edited without touching other entries (an alias, or text "
            f"behind the end of the document?): {said} yourself"
        )
    return edited


def _changed(values: Any, place: Sequence[str], entry: Mapping[str, Any] | None) -> Any:
    """The values with the entry set, or taken out with every mapping that it leaves empty."""
    changed = _unshared(values)
    path = [changed]
    for key in place[:-1]:
        inner = path[-1].get(key)
        if inner is None and entry is None:
            return values
        if inner is None:
            inner = path[-1][key] = {}
        path.append(inner)
    if entry is not None:
        path[-1][place[-1]] = dict(entry)
        return changed
    for holder, key in zip(reversed(path), reversed(place), strict=True):
        holder.pop(key, None)
        if holder:
            break
    return changed


def _unshared(value: Any) -> Any:
    """A copy in which nothing is there twice by reference, as an alias makes it."""
    if isinstance(value, Mapping):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _set(
    text: str, root: yaml.Node | None, place: Sequence[str], entry: Mapping[str, Any], newline: str
) -> str:
    """The deepest mapping on the way to the entry that is there gets the rest; the entry itself is replaced."""
    found = _found(root, place)
    held = root if not found else found[-1][1]
    rest: Any = entry
    for key in reversed(place[len(found) + 1 :]):
        rest = {key: rest}
    if len(found) == len(place):  # the entry is there: another value
        key_node, value = found[-1]
        return _spliced(text, key_node.start_mark.index, _end(value), f"{place[-1]}: {_flow(entry)}")
    new = place[len(found)]
    if isinstance(held, yaml.MappingNode) and held.value and not held.flow_style:
        lines = _block({new: rest}, held.value[0][0].start_mark.column, newline)
        if held is root:  # below the comments that end the file, too, and set apart
            apart = "" if text.endswith(2 * newline) else newline
            return _line_after(text, len(text), apart + lines, newline)
        return _line_after(text, _end(held), lines, newline)
    if isinstance(held, yaml.MappingNode) and held.value:
        at = _end(held.value[-1][1])
        return _spliced(text, at, at, f", {_flow({new: rest})[1:-1]}")
    if held is None:  # nothing but comments
        return _line_after(text, len(text), _block({new: rest}, 0, newline), newline)
    space = "" if text[held.start_mark.index - 1].isspace() else " "
    return _spliced(text, held.start_mark.index, held.end_mark.index, f"{space}{_flow({new: rest})}")


def _removed(text: str, root: yaml.Node | None, place: Sequence[str]) -> str:
    """Without the entry, and without what it leaves empty around it."""
    found = _found(root, place)
    holders = [root, *(value for _, value in found)]
    depth = len(found) - 1
    while depth > 0 and len(_pairs(holders[depth])) == 1:
        depth -= 1
    key, value = found[depth]
    holder = holders[depth]
    assert isinstance(holder, yaml.MappingNode)
    if not holder.flow_style:
        start, end = text.rfind("\n", 0, key.start_mark.index) + 1, text.find("\n", _end(value))
        left, rest = text[:start], "" if end < 0 else text[end + 1 :]
        if holder is root and not rest:  # the blank line that the section was set apart by
            newline = "\r\n" if left.endswith("\r\n") else "\n"
            left = left.removesuffix(newline) if left.endswith(2 * newline) else left
        return left + rest
    keys = [pair[0] for pair in holder.value]
    number = keys.index(key)
    if number + 1 < len(keys):
        return _spliced(text, key.start_mark.index, keys[number + 1].start_mark.index, "")
    before = _end(holder.value[number - 1][1]) if number else key.start_mark.index
    return _spliced(text, before, _end(value), "")


def _found(root: yaml.Node | None, place: Sequence[str]) -> list[tuple[yaml.Node, yaml.Node]]:
    """Key and value on the way to the entry, as far as they are there."""
    found: list[tuple[yaml.Node, yaml.Node]] = []
    for key in place:
        pairs = {k.value: (k, v) for k, v in _pairs(found[-1][1] if found else root)}
        if key not in pairs:
            break
        found.append(pairs[key])
    return found


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends; the parser says of one in block style where the next begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _spliced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def _line_after(text: str, index: int, lines: str, newline: str) -> str:
    """Lines put behind the one that ``index`` is in."""
    end = text.find("\n", index)
    if end < 0:
        return text + (newline if text and not text.endswith("\n") else "") + lines
    return _spliced(text, end + 1, end + 1, lines)


def _block(values: Mapping[str, Any], column: int, newline: str) -> str:
    """Mappings in block style down to that of the entry, which takes one line."""
    lines, inner, indent = [], values, column
    while True:
        ((key, value),) = inner.items()
        name = _flow(key)
        if not _is_nested(value):
            lines.append(f"{' ' * indent}{name}: {_flow(value)}{newline}")
            return "".join(lines)
        lines.append(f"{' ' * indent}{name}:{newline}")
        inner, indent = value, indent + 2


def _is_nested(value: Mapping[str, Any]) -> bool:
    return all(isinstance(inner, Mapping) for inner in value.values())


def _flow(value: Any) -> str:
    """On one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text.removesuffix("\n").removesuffix("\n...")
