"""What a process that computes leaves out of Python's collections of garbage."""

from __future__ import annotations

import gc
from functools import cache

YOUNG = 5_000
"""New objects after which Python looks for garbage among them; by default 700."""


@cache  # once in a process: what is garbage by then stays, too
def keep_what_is_loaded() -> None:
    """Let all objects there are stay without being looked at again, and look less often, in processes of ours alone.

    Dagster and what comes with it are 200,000 objects that live as long as the process. Each full collection walks
    through them, and the modules that are loaded after them cause dozens: a fifth of a short job's processor seconds.
    What the modules and Dagster's records make stays, too: to look for garbage among it as often as by default takes
    another twentieth.
    """
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
