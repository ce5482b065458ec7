"""What a recalibration made of the images that people judged: which alarms are gone, which defects are missed now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.metrics.report.figures import finite_or_none
from uad_orchestrator.metrics.thresholds.decision import Decision, decide
from uad_orchestrator.review.judgement import Judged


@dataclass(frozen=True)
class ScoreNow:
    """An image's score by a cell as it is now.

    Attributes:
        score: NaN where there is none.
        source: where it comes from: the score table, or scored again.
        held: whether the cell was fitted on the very image, and the score is with it in the memory bank: low by itself.
        fault: why there is no score; empty: there is one.
    """

    score: float
    source: str = ""
    held: bool = False
    fault: str = ""


@dataclass(frozen=True)
class JudgedNow:
    """A judged image, as it was decided on the line and as it would be decided now.

    Attributes:
        judged: the judgement.
        before: score and decision on the line.
        now: the score by the cell as it is.
        decision: at its present thresholds; None without a score or a threshold.
    """

    judged: Judged
    before: float
    decided_before: Decision
    now: ScoreNow
    decision: Decision | None

    def to_json(self) -> dict[str, Any]:
        """As the page shows it."""
        said = self.judged.judgement
        return {
            "judgement": said.id,
            "image": said.image,
            "verdict": said.verdict,
            "defect_type": said.defect_type,
            "told": self.judged.told(),
            "score_before": self.before,
            "decision_before": self.decided_before,
            "score_now": finite_or_none(self.now.score),
            "decision_now": self.decision,
            "source": self.now.source,
            "held": self.now.held,
            "fault": self.now.fault,
        }


@dataclass(frozen=True)
class CellOutcome:
    """The judged images that one detector had stopped, decided again.

    Attributes:
        category: ``dataset/category``.
        detector: its name.
        threshold: of the image score now; NaN: none.
        review_threshold: where review begins now; None: nothing is reviewed.
        images: those judged normal, then the defects.
        reason: why there is nothing to tell; empty: there is.
    """

    category: str
    detector: str
    threshold: float = math.nan
    review_threshold: float | None = None
    images: tuple[JudgedNow, ...] = ()
    reason: str = ""

    def passed(self, verdict: str) -> tuple[int, int]:
        """Of the images judged so: how many pass now, and how many could be decided again."""
        decided = [i for i in self.images if i.judged.judgement.verdict == verdict and i.decision is not None]
        return sum(image.decision == "pass" for image in decided), len(decided)

    def to_json(self) -> dict[str, Any]:
        """As the page shows it."""
        normals, defects = self.passed("normal"), self.passed("defect")
        return {
            "category": self.category,
            "detector": self.detector,
            "threshold": finite_or_none(self.threshold),
            "review_threshold": finite_or_none(self.review_threshold),
            "false_alarms_passed": {"count": normals[0], "of": normals[1]},
            "defects_missed": {"count": defects[0], "of": defects[1]},
            "undecided": sum(image.decision is None for image in self.images),
            "held": sum(image.now.held for image in self.images),
            "images": [image.to_json() for image in self.images],
            "reason": self.reason,
        }


def decided_again(
    category: str,
    detector: str,
    judged: Iterable[Judged],
    score: Callable[[list[Judged]], list[ScoreNow]],
    threshold: float,
    review_threshold: float | None,
) -> CellOutcome:
    """The judged images that a detector had stopped, at its present scores and thresholds.

    Args:
        category: ``dataset/category``.
        detector: its name.
        judged: the judgements that stand; those left unsure, and those of images that it had passed, are left out.
        score: the present scores of images, in their order.
        threshold: of the image score now; NaN: none.
        review_threshold: where review begins now; None: nothing is reviewed.
    """
    stopped = [one for one in judged if detector in one.judgement.stopped]
    chosen = [one for verdict in ("normal", "defect") for one in stopped if one.judgement.verdict == verdict]
    rows = []
    for one, now in zip(chosen, score(chosen), strict=True):
        stop = one.judgement.stopped[detector]
        decision = decide(now.score, threshold, review_threshold)
        rows.append(JudgedNow(one, stop.score, stop.decision, now, decision))
    return CellOutcome(category, detector, threshold, review_threshold, tuple(rows))
