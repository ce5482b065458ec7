"""Work in threads whose results keep their order: image files read ahead, maps written behind, pixels counted."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 16
"""Beyond so many, decoding and counting are no longer what waits."""


def available_threads() -> int:
    """How many threads this process may keep busy.

    Returns:
        The cores it may run on, at most ``MOST_THREADS``; fewer where ``OMP_NUM_THREADS`` says so, by which several
        workers share a machine.
    """
    usable = getattr(os, "sched_getaffinity", None)  # a container's share, where the system knows it
    cores = len(usable(0)) if usable is not None else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "")
    share = int(said) if said.isdecimal() and int(said) else cores
    return max(1, min(cores, share, MOST_THREADS))


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int
) -> Iterator[Result]:
    """``map`` with several threads: results come in the order of the items, each as soon as it may.

    The items are taken in the caller's thread. Nothing is begun before the first result is asked for. Where a call
    raises, the results before it come first, then its exception, and what was not begun is dropped; so it is when the
    iterator is closed, or the caller interrupted: nothing is waited for.

    Args:
        function: called in one of the threads; must be safe there.
        items: what it is called with.
        threads: at most so many calls at a time; 1: in the caller's thread, without any ahead.
        ahead: at most so many items are begun beyond the result that is waited for: what bounds the memory.

    Returns:
        The results.

    >>> list(ordered_map(abs, [-3, 2, -1], threads=2, ahead=2))
    [3, 2, 1]
    """
    if threads <= 1:
        yield from map(function, items)
        return
    remaining = iter(items)
    pool = ThreadPoolExecutor(threads)
    begun: deque[Future[Result]] = deque()
    try:
        for item in remaining:
            begun.append(pool.submit(function, item))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
