"""The search for a coreset, cut into small pieces: as it is cut must not matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from uad_orchestrator.memory import greedy_search


@contextmanager
def cut_into_pieces(pool: int, more: int, piece: int) -> Iterator[pytest.MonkeyPatch]:
    """Pools of so many points, fields of so many more, and so many rows compared with at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(greedy_search, "POOL", pool)
        patched.setattr(greedy_search, "FIELD", pool + more)
        patched.setattr(greedy_search, "PICKS", piece)
        patched.setattr(greedy_search, "BLOCK", 4 * piece)
        yield patched
