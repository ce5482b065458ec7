"""Contracts with what is not public in Dagster's API: a test of one fails with one plain sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import dagster as dg
import pytest

P = ParamSpec("P")


def contract(file: str, promise: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A test of what a file of ``dagster_instance/`` relies on.

    Args:
        file: the file.
        promise: what Dagster does, to be read after "no longer".
    """

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def kept(*arguments: P.args, **named: P.kwargs) -> None:
            try:
                test(*arguments, **named)
            except Exception as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            else:
                return
            relied = f"dagster_instance/{file} relies on it ({reason})"
            pytest.fail(f"Dagster {dg.__version__} no longer {promise}; {relied}", pytrace=False)

        return kept

    return decorate
