"""Rows of one detector with several seeds, folded into one: mean, and standard deviation beside it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from uad_orchestrator.reporting.board.row import PROMISE, LeaderboardRow

Replicates = Mapping[tuple[str, str], np.ndarray]
"""Bootstrap replicates of the image AUROC per (category key, detector)."""

_WORST_FIRST = ("failed", "missing", "stale")
_ONE_PER_SEED = ("threshold", "pixel_threshold", *PROMISE, *(f"pixel_{name}" for name in PROMISE))


def with_repeats(
    rows: Sequence[LeaderboardRow], replicates: Replicates, repeats: Mapping[str, Sequence[str]]
) -> tuple[list[LeaderboardRow], dict[tuple[str, str], np.ndarray]]:
    """The rows and replicates, with those of the repeated detectors folded and put before their seeds.

    Where not all seeds of a detector are among the rows, none is folded.
    """
    there = {row.detector for row in rows}
    base_of = {name: base for base, names in repeats.items() if there.issuperset(names) for name in names}
    seeds: dict[tuple[str, str], list[LeaderboardRow]] = {}
    for row in rows:
        if row.detector in base_of:
            seeds.setdefault((row.category_key, base_of[row.detector]), []).append(row)
    found = dict(replicates)
    for (category, base), own in seeds.items():
        of_all = mean_replicates([(category, row.detector) for row in own], replicates)
        if of_all is not None:
            found[category, base] = of_all
    singles = [
        row.model_copy(update={"repeat_of": base_of[row.detector]}) if row.detector in base_of else row
        for row in rows
    ]
    folded = [fold_row(base, own) for (_, base), own in seeds.items()]
    order = sorted(
        (*singles, *folded),
        key=lambda row: (row.category_key, row.repeat_of or row.detector, not row.repeats),
    )
    return order, found


def fold_row(name: str, rows: Sequence[LeaderboardRow]) -> LeaderboardRow:
    """The row of a detector in one category over its seeds.

    It has figures where all seeds are fresh: their means, and in ``std`` the standard deviations of the sample
    (n - 1). A threshold belongs to its seed and is not averaged.

    Args:
        name: what the project file calls the detector.
        rows: those of its seeds, at least two.
    """
    first = rows[0]
    of_all = {
        "dataset": first.dataset,
        "category": first.category,
        "detector": name,
        "repeats": tuple(row.detector for row in rows),
    }
    for status in _WORST_FIRST:
        unlike = [row for row in rows if row.status == status]
        if unlike:
            reason = "; ".join(f"{row.detector}: {row.reason}" for row in unlike)
            return type(first)(**of_all, status=status, reason=reason)
    names = [key for key in first.measured if any(row.value(key) is not None for row in rows)]
    values = {key: [row.value(key) for row in rows] for key in names}
    known = {key: found for key, found in values.items() if None not in found}
    return type(first)(
        **of_all,
        status="fresh",
        model=first.model,
        contamination=first.contamination,
        false_positive_rate_from=first.false_positive_rate_from,
        n_test_normal=first.n_test_normal,
        n_test_anomalous=first.n_test_anomalous,
        n_test_masked=first.n_test_masked,
        image_auroc_interval=_mean_interval(rows, "image_auroc"),
        intervals={
            name: found for name in first.intervals if (found := _mean_interval(rows, name)) is not None
        },
        warnings=max(row.warnings for row in rows),
        threshold_source=_common(row.threshold_source for row in rows),
        pixel_threshold_source=_common(row.pixel_threshold_source for row in rows),
        std={key: statistics.stdev(found) for key, found in known.items()},
        reasons={reason: why for row in rows for reason, why in row.reasons.items() if reason not in known}
        | dict.fromkeys(_ONE_PER_SEED, "one per seed: see the single rows"),
        **{key: _mean(found) for key, found in known.items()},
    )


def mean_replicates(rows: Iterable[tuple[str, str]], replicates: Replicates) -> np.ndarray | None:
    """The mean of some cells' replicates, draw by draw; None where one has none."""
    found = [replicates.get(key) for key in rows]
    known = [one for one in found if one is not None]
    return np.mean(known, axis=0) if known and len(known) == len(found) else None


def _mean(values: Sequence[float | int]) -> float | int:
    """Counts stay whole numbers."""
    mean = statistics.fmean(values)
    return round(mean) if all(isinstance(value, int) for value in values) else mean


def _mean_interval(rows: Sequence[LeaderboardRow], name: str) -> tuple[float, float] | None:
    """The interval of a mean over seeds: they are tested on the same images, so their errors do not average out."""
    found = [row.intervals[name] for row in rows if name in row.intervals]
    if len(found) < len(rows):
        return None
    low, high = (statistics.fmean(ends) for ends in zip(*found, strict=True))
    return low, high


def _common(words: Iterable[str | None]) -> str | None:
    """The one value that all have; None if they differ."""
    different = set(words)
    return different.pop() if len(different) == 1 else None
