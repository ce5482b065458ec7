"""What could not be recorded or sent: counted, and said once, because a result never waits or fails for it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Literal, get_args

logger = logging.getLogger(__name__)

Kind = Literal["record", "picture", "webhook", "mqtt"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_WORDS: dict[Kind, str] = {
    "record": "a record",
    "picture": "picture or map of a record",
    "webhook": "a record for --webhook",
    "mqtt": "a record for --mqtt",
}


class Dropped:
    """Counts by kind; the first of each kind is a warning with its reason.

    >>> dropped = Dropped()
    >>> dropped.counts()
    {}
    """

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: Kind, reason: object, number: int = 1) -> None:
        """Something was dropped.

        Args:
            kind: of what.
            reason: why.
            number: how many.
        """
        with self._lock:
            first = kind not in self._counts
            self._counts[kind] += number
        if first:
            logger.warning("%s was dropped: %s. Further ones are only counted", _WORDS[kind], reason)

    def sum_up(self) -> None:
        """Say how many were dropped in all, where any was."""
        if counts := self.counts():
            logger.warning(
                "dropped in all: %s", ", ".join(f"{number} {kind}" for kind, number in counts.items())
            )

    def counts(self) -> dict[Kind, int]:
        """How many, by kind; kinds of which none was dropped are left out."""
        with self._lock:
            return dict(self._counts)
