"""Which test images a report shows: the best and the worst of a score table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from uad_orchestrator.metrics.pixels import statistics

CaseKind = Literal["highest_defect", "lowest_defect", "highest_normal"]

HEADINGS: dict[CaseKind, str] = {
    "highest_defect": "Highest-scoring defects",
    "lowest_defect": "Lowest-scoring defects",
    "highest_normal": "Highest-scoring normals",
}
"""What each kind is called, in the order in which a report shows them."""


class ScoredImage(statistics.ScoredImage, Protocol):
    """A row of a score table with its role: ``detectors.protocol.scoring.ScoreRow``, or any object like it."""

    @property
    def role(self) -> str: ...


@dataclass(frozen=True)
class ChosenCase:
    """A test image worth looking at, and why.

    Attributes:
        kind: whether it leads the defects, trails them, or leads the normals.
        image: its name in the score table.
        label: 0 normal, 1 anomalous.
        defect_type: ``good`` for normals.
        score: its image score.
    """

    kind: CaseKind
    image: str
    label: int
    defect_type: str
    score: float


def choose_cases(rows: Iterable[ScoredImage], per_kind: int = 3) -> list[ChosenCase]:
    """The best and worst cases of a score table: what a detector finds, misses, and takes for a defect.

    Only test images are looked at. Defects with the lowest scores are chosen first, because misses matter
    most; no image appears twice; ties go by name, so that the same table always gives the same pictures.

    Args:
        rows: the score table, in any order; calibration rows are passed over.
        per_kind: at most this many images of each kind.

    Returns:
        The highest-scoring defects (best first), the lowest-scoring defects (worst first), then the
        highest-scoring normals (worst first). Empty where the table has no test image.

    Raises:
        ValueError: a test image's score is not finite.
    """
    tested = [row for row in rows if row.role == "test"]
    for row in tested:
        if not math.isfinite(row.score):
            raise ValueError(
                f"the score of {row.image} is {row.score}: a score table holds finite scores only"
            )
    rising = sorted((row for row in tested if row.label), key=lambda row: (row.score, row.image))
    normals = sorted((row for row in tested if not row.label), key=lambda row: (-row.score, row.image))
    lowest = rising[:per_kind]
    highest = sorted(rising[per_kind:], key=lambda row: (-row.score, row.image))[:per_kind]
    return [
        *(_chosen("highest_defect", row) for row in highest),
        *(_chosen("lowest_defect", row) for row in lowest),
        *(_chosen("highest_normal", row) for row in normals[:per_kind]),
    ]


def _chosen(kind: CaseKind, row: ScoredImage) -> ChosenCase:
    return ChosenCase(kind, row.image, int(row.label), row.defect_type, float(row.score))


def verdict(label: int, score: float, threshold: float) -> str:
    """What the threshold makes of an image: anomalous means ``score > threshold``.

    >>> verdict(1, 0.9, 0.5), verdict(1, 0.5, 0.5), verdict(0, 0.9, 0.5), verdict(0, 0.1, 0.5)
    ('found', 'missed', 'false alarm', 'passed')
    >>> verdict(1, 0.9, float("nan"))
    'no threshold'
    """
    if math.isnan(threshold):
        return "no threshold"
    flagged = score > threshold
    if label:
        return "found" if flagged else "missed"
    return "false alarm" if flagged else "passed"
