"""How two JSON values differ, in the project file's words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

NAMING_KEYS = ("path", "step", "name")
"""Items of a list that are mappings are paired by the first of these keys they all have, else by position."""


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""Stands for a value that one side does not have."""


@dataclass(frozen=True)
class Change:
    """One value that differs.

    >>> str(Change("illumination.gamma", 1.0, 1.2))
    'illumination.gamma 1.0 -> 1.2'
    """

    place: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.place} {_word(self.before)} -> {_word(self.after)}".strip()

    def in_short(self) -> str:
        """With the last key of the place alone.

        >>> Change("steps[illumination].gamma", 1.0, 1.2).in_short()
        'gamma 1.0 -> 1.2'
        """
        return str(Change(self.place.rpartition(".")[2], self.before, self.after))

    def to_json(self) -> dict[str, Any]:
        """As JSON values; a side that is absent is left out."""
        sides = {"before": self.before, "after": self.after}
        return {"place": self.place} | {name: value for name, value in sides.items() if value is not ABSENT}


def changes(before: Any, after: Any, place: str = "") -> Iterator[Change]:
    """Every value that differs, down to the leaves, in the order of ``before``.

    >>> [str(change) for change in changes({"coreset": {"ratio": 0.1}}, {"coreset": {"ratio": 0.05}})]
    ['coreset.ratio 0.1 -> 0.05']
    >>> was = [{"step": "white_balance"}, {"step": "illumination", "gamma": 1.0}]
    >>> now = [{"step": "illumination", "gamma": 1.2}]
    >>> [str(c) for c in changes({"steps": was}, {"steps": now})]
    ['steps[white_balance] {"step": "white_balance"} -> absent', 'steps[illumination].gamma 1.0 -> 1.2']
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            inner = f"{place}.{key}" if place else str(key)
            yield from changes(before.get(key, ABSENT), after.get(key, ABSENT), inner)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        yield from _list_changes(before, after, place)
    elif not _same(before, after):
        yield Change(place, before, after)


def in_words(found: Iterable[Change], limit: int = 4) -> list[str]:
    """One line a change; where more than ``limit`` items of one list changed, one line for all of them.

    >>> was = [{"path": f"{n}.png", "sha256": "a"} for n in range(10)]
    >>> now = [{"path": f"{n}.png", "sha256": "b" if n == 3 else "a"} for n in range(1, 18)]
    >>> in_words(changes({"images": was}, {"images": now}))
    ['images: 8 added (10.png, 11.png, 12.png, ...), 1 removed (0.png), 1 changed (3.png)']
    """
    groups: dict[str, list[Change]] = {}
    for change in found:
        groups.setdefault(change.place.partition("[")[0], []).append(change)
    lines = []
    for name, members in groups.items():
        if len(members) > limit and all("[" in change.place for change in members):
            lines.append(f"{name}: {_counts(members)}")
        else:
            lines.extend(map(str, members))
    return lines


def items_changed(members: Iterable[Change]) -> dict[str, tuple[str, ...]]:
    """The names of a list's items that were ``added``, ``removed`` and ``changed``, each once.

    >>> items_changed(changes({"masks": [{"path": "a"}]}, {"masks": [{"path": "a"}, {"path": "b"}]}))
    {'added': ('b',), 'removed': (), 'changed': ()}
    """
    items: dict[str, dict[str, None]] = {"added": {}, "removed": {}, "changed": {}}
    for change in members:
        if "[" in change.place:
            kind = "added" if change.before is ABSENT else "removed" if change.after is ABSENT else "changed"
            whole = change.place.endswith("]")
            items[kind if whole else "changed"][change.place.partition("[")[2].partition("]")[0]] = None
    return {kind: tuple(names) for kind, names in items.items()}


def _counts(members: Iterable[Change]) -> str:
    """``8 added (10.png, 11.png, 12.png, ...), 1 removed (0.png)``."""
    return ", ".join(
        f"{len(names)} {kind} ({', '.join([*islice(names, 3), *(['...'] if len(names) > 3 else [])])})"
        for kind, names in items_changed(members).items()
        if names
    )


def _list_changes(before: Sequence[Any], after: Sequence[Any], place: str) -> Iterator[Change]:
    named = _by_name(before, after)
    if named is not None:
        old, new = named
        for name in dict.fromkeys([*old, *new]):
            yield from changes(old.get(name, ABSENT), new.get(name, ABSENT), f"{place}[{name}]")
        shared_before, shared_after = ([n for n in side if n in old and n in new] for side in (old, new))
        if shared_before != shared_after:
            yield Change(f"order of {place}", shared_before, shared_after)
    elif len(before) == len(after) and any(
        isinstance(item, Mapping | list | tuple) for item in (*before, *after)
    ):
        for position, (old_item, new_item) in enumerate(zip(before, after, strict=True)):
            yield from changes(old_item, new_item, f"{place}[{position}]")
    elif len(before) != len(after) or not all(map(_same, before, after)):
        yield Change(place, list(before), list(after))


def _by_name(
    before: Sequence[Any], after: Sequence[Any]
) -> tuple[dict[str, Mapping], dict[str, Mapping]] | None:
    """Both lists by the key that names their items; None where items have no names of their own."""
    items = [*before, *after]
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for key in NAMING_KEYS:
        if all(key in item for item in items):
            old, new = ({str(item[key]): item for item in side} for side in (before, after))
            if len(old) == len(before) and len(new) == len(after):
                return old, new
    return None


def _same(before: Any, after: Any) -> bool:
    """Whether two single values are equal and written alike: true, 1 and 1.0 are three, as for ``digest_of``."""
    return before == after and str(before) == str(after)


def _word(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping | list | bool) else str(value)
