"""One line of a benchmark: a figure, the bar it is held against, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class BenchmarkRow:
    """A measured figure and its bar.

    Attributes:
        benchmark: the module it comes from.
        case: the input, e.g. ``centred at 0``.
        measure: what was measured, e.g. ``speed-up over anomalib's AUPRO``.
        value: the figure; for speed a ratio against the peer in the same run.
        unit: ``x``, ``MB``, ``error``...
        bar: the value it must reach.
        better: whether ``value`` must be at least (``higher``) or at most (``lower``) the bar.
        details: what the figure was made of, e.g. the seconds of both.
    """

    benchmark: str
    case: str
    measure: str
    value: float
    unit: str
    bar: float
    better: Literal["higher", "lower"]
    details: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """The bar is reached; NaN never does."""
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar
