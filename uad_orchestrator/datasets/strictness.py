"""What of a dataset is an error, and what only a warning: the keys ``masks`` and ``leaks`` of a ``datasets:`` entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MaskRule = Literal["required", "optional"]
LeakRule = Literal["warn", "error"]


@dataclass(frozen=True)
class Strictness:
    """What is asked of a dataset.

    Attributes:
        masks: ``required``: a defective test image without a mask is an error; ``optional``: it is left out of the
            pixel metrics, with a warning. None: required of published sets, optional for images of one's own.
        leaks: what copies between train, validation and test are.
    """

    masks: MaskRule | None = None
    leaks: LeakRule = "warn"
