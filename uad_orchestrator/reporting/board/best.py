"""Which values of a figure are best, as far as they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from uad_orchestrator.metrics.catalogue import find

SHOWN_DECIMALS = 3


def best_of(values: Mapping[str, float], metric: str) -> set[str]:
    """The names whose value of a metric is best as shown; none where fewer than two compete.

    Ratios are compared at the decimals that are shown, other figures at three significant digits.

    >>> sorted(best_of({"a": 0.98712, "b": 0.98709, "c": 0.5}, "image_auroc"))
    ['a', 'b']
    >>> best_of({"a": 0.0123, "b": 0.0456}, "seconds_per_image_p50"), best_of({"a": 0.9}, "image_auroc")
    ({'a'}, set())
    """
    if len(values) < 2:
        return set()
    known = find(metric)
    ratio = known is None or known.kind == "ratio"
    shown = {
        name: round(value, SHOWN_DECIMALS) if ratio else float(f"{value:.3g}")
        for name, value in values.items()
    }
    lowest = known is not None and known.direction == "lower"
    best = min(shown.values()) if lowest else max(shown.values())
    return {name for name, value in shown.items() if value == best}
