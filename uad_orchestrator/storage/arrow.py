"""pyarrow without pandas, which it would import to make its first array: 0.2 s and 40 MB of every process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from types import ModuleType


@cache  # once in a process, as pyarrow looks for pandas once
def arrow_alone() -> ModuleType:
    """The module pyarrow, which takes pandas for not installed until one of its functions cannot do without."""
    import pyarrow

    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pyarrow.array([0])
    finally:
        sys.meta_path.remove(finder)
    return pyarrow


class _WithoutPandas(MetaPathFinder):
    """Finds no pandas for this thread; another one that imports it meanwhile gets it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{name} is left out", name=name)
