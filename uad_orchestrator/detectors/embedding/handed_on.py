"""What was worked out of embeddings at one stage and is wanted at the next, where both run in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST_BYTES = 128 << 20
"""More than this, of half a million patches, is not held: it is worked out again."""


class HandedOn:
    """The last thing that was handed on, until it is taken.

    >>> handed_on = HandedOn()
    >>> handed_on.put(("sum", 3), lambda: 6, size=8)
    >>> handed_on.take(("sum", 4)), handed_on.take(("sum", 3)), handed_on.take(("sum", 3))
    (None, 6, None)
    """

    def __init__(self) -> None:
        self._held: tuple[Any, Any] | None = None

    def put(self, key: object, make: Callable[[], object], size: int) -> None:
        """Hold a value in place of what was held; nothing where it is too large.

        Args:
            key: all that the value depends on; compared by ``==``.
            make: gives the value, which is not changed from now on; not called where it is too large.
            size: of it, in bytes.
        """
        self._held = None  # before there is another: two are never held
        if size <= MOST_BYTES:
            self._held = key, make()

    def take(self, key: object) -> Any:
        """The value, which is held no longer; None where another is held, or none."""
        held = self._held
        if held is None or held[0] != key:
            return None
        self._held = None
        return held[1]

    def drop(self) -> None:
        """Hold nothing, where nobody will take it any more."""
        self._held = None
