"""What a process that computes leaves out of Python's collections of garbage."""

from __future__ import annotations

import gc
from functools import cache

YOUNG = 5_000
"""New objects after which Python looks for garbage among them; by default 700."""


@cache  # once in a process: what is garbage by then stays, too
def keep_what_is_loaded() -> None:
    """Let all objects there are stay without being looked at again, for processes that are ours alone.

    Dagster and what comes with it are 200,000 objects that live as long as the process. Each full collection walks
    through them, and the modules that are loaded after them cause dozens: a fifth of a short job's processor seconds.
    """
    gc.freeze()
    look_less_often()


def look_less_often() -> None:
    """Have Python look for garbage less often, as nearly all that a process of ours makes at first stays: modules."""
    young, *older = gc.get_threshold()
    gc.set_threshold(max(YOUNG, young), *older)
