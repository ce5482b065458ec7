"""Which detectors are tied: their image AUROCs cannot be told apart (see ``metrics.bootstrap``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from uad_orchestrator.metrics.bootstrap import within_noise
from uad_orchestrator.reporting.board.row import LeaderboardRow

if TYPE_CHECKING:
    from uad_orchestrator.reporting.board.repeats import Replicates


def with_ties(rows: Sequence[LeaderboardRow], replicates: Replicates) -> list[LeaderboardRow]:
    """The rows with the detectors of their category that are tied with them.

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

    def rivals_of(row: LeaderboardRow) -> tuple[str, ...]:
        return tied.get(row.category_key, {}).get(row.detector, ())

    return [row.model_copy(update={"within_noise_of": rivals_of(row)}) for row in rows]


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
