"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 20
"""Problems listed in a result; the rest is counted."""


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        passed: nothing speaks against it.
        said: the result in a sentence.
        figures: numbers and lists behind it, for the check's page.
        is_error: a failure makes numbers wrong; otherwise it is for a person to judge.
        images: the files that speak against it, as the dataset names them.
    """

    passed: bool
    said: str
    figures: Mapping[str, Any]
    is_error: bool = True
    images: tuple[str, ...] = ()
