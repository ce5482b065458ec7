"""Cron lines, checked where they are written, so that a wrong one does not break the code location."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from croniter import CroniterError, croniter

_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31",
    "month": "1-12 or jan-dec",
    "day of week": "0-7 or sun-sat",
}
_LAST = ("59", "23", "31", "12|dec", "6|sat")
"""The last value of each field. croniter and Dagster's copy of it read a step from there on, 59/15, differently."""
_ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_WORDS = "sun|mon|tue|wed|thu|fri|sat|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_UNDERSTOOD = re.compile(rf"(?:{_WORDS}|[0-9*,/?#L-])+", re.IGNORECASE | re.ASCII)
"""What Dagster understands as well, and at every look alike: W is too new for it, R and H stand for a random time."""


def cron_fault(line: str) -> str | None:
    """Why ``line`` is no cron line, and what to write; None if it is one, and its time comes.

    >>> cron_fault("0 3 * * *") is None
    True
    >>> cron_fault("0 25 * * *")
    "hour '25' is not understood; expected 0-23, * for any, lists 1,2, ranges 1-5, steps */2"
    """
    if line.lower() in _ALIASES:
        return None
    parts = re.findall(r"\S+", line, re.ASCII)
    if len(parts) != len(_FIELDS):
        return (
            f"a cron line has five fields ({', '.join(_FIELDS)}), e.g. '0 3 * * *', "
            f"or is one of {', '.join(_ALIASES)}"
        )
    for position, (name, values) in enumerate(_FIELDS.items()):
        if not _is_field(parts[position], position):
            return (
                f"{name} {parts[position]!r} is not understood; expected {values}, * for any, "
                "lists 1,2, ranges 1-5, steps */2"
            )
    if not _comes(f"0 0 {parts[2]} {parts[3]} *"):
        return f"day of month {parts[2]!r} never comes in month {parts[3]!r}"
    return None if _comes(line) else "that time never comes"


def _is_field(text: str, position: int) -> bool:
    """Whether croniter takes ``text`` as one field of a cron line, and Dagster's copy of it reads it alike."""
    if re.search(rf"(?:^|,)0*(?:{_LAST[position]})/", text, re.IGNORECASE):
        return False
    fields = ["*"] * len(_FIELDS)
    fields[position] = text
    return bool(_UNDERSTOOD.fullmatch(text)) and croniter.is_valid(" ".join(fields))


def _comes(line: str) -> bool:
    """Whether there is a next date; croniter looks 50 years ahead."""
    try:
        croniter(line, datetime.now(UTC)).get_next()
    except CroniterError:
        return False
    return True
