"""The intervals of image AUROCs, and which detectors are tied (see ``metrics.bootstrap``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.metrics.bootstrap import Interval, interval, within_noise
from uad_orchestrator.reporting.board.row import LeaderboardRow

if TYPE_CHECKING:
    from uad_orchestrator.reporting.board.repeats import Replicates


def with_intervals(rows: Sequence[LeaderboardRow], replicates: Replicates) -> list[LeaderboardRow]:
    """The rows with the intervals of their image AUROC, and the detectors of their category that are tied with them.

    The single seeds of a detector are compared with no other detector.

    Args:
        rows: of any categories.
        replicates: of their image AUROCs; rows without stay as they are.
    """
    rivals: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        found = replicates.get((row.category_key, row.detector))
        if found is not None and row.repeat_of is None:
            rivals.setdefault(row.category_key, {})[row.detector] = found
    tied = {category: ties(found) for category, found in rivals.items()}

    def fields(row: LeaderboardRow) -> dict[str, Interval | tuple[str, ...]]:
        found = replicates.get((row.category_key, row.detector))
        if found is None:
            return {}
        of_category = tied.get(row.category_key, {})
        return {
            "image_auroc_interval": interval(found),
            "within_noise_of": of_category.get(row.detector, ()),
        }

    return [row.model_copy(update=fields(row)) for row in rows]


def ties(replicates: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """Per detector those that are tied with it, sorted.

    The paired bootstrap over the same images: two detectors are tied where the 95 % interval of the difference
    of their replicates holds 0.

    Args:
        replicates: per detector, (n,), over the same test images.
    """
    tied: dict[str, list[str]] = {name: [] for name in replicates}
    for one, other in combinations(sorted(replicates), 2):
        if within_noise(replicates[one], replicates[other]):
            tied[one].append(other)
            tied[other].append(one)
    return {name: tuple(sorted(others)) for name, others in tied.items()}
