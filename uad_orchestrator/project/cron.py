"""Cron lines, checked where they are written, so that a wrong one does not break the code location."""

from __future__ import annotations

import re

_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
)
_NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "day of week": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")


def cron_fault(line: str) -> str | None:
    """Why ``line`` is no cron line; None if it is one.

    >>> cron_fault("0 3 * * *") is None
    True
    >>> cron_fault("0 25 * * *")
    'hour 25 lies outside 0-23'
    """
    if line.strip() in _ALIASES:
        return None
    parts = line.split()
    if len(parts) != len(_FIELDS):
        return f"a cron line has five fields ({', '.join(f[0] for f in _FIELDS)}), e.g. '0 3 * * *'"
    faults = (_field_fault(part, *field) for part, field in zip(parts, _FIELDS, strict=True))
    return next((fault for fault in faults if fault), None)


def _field_fault(text: str, name: str, low: int, high: int) -> str | None:
    for item in text.lower().split(","):
        match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", item)
        if not match or (match[1] == "*" and match[2]) or match[3] == "0":
            return f"{name} {item!r} is not understood"
        ends = []
        for word in (match[1], match[2]):
            if word in (None, "*"):
                continue
            number = _number(word, name, low)
            if number is None:
                return f"{name} {item!r} is not understood"
            if not low <= number <= high:
                return f"{name} {number} lies outside {low}-{high}"
            ends.append(number)
        if ends != sorted(ends):
            return f"{name} {item!r} runs backwards"
    return None


def _number(word: str, name: str, low: int) -> int | None:
    names = _NAMES.get(name, ())
    if word in names:
        return names.index(word) + low
    return int(word) if word.isdecimal() else None
