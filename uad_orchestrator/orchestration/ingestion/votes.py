"""Do a category's detectors find a new image normal? Each compares its score with a limit of its own.

The limit is a high quantile of the scores of normals the detector does not hold. The operating threshold
would be the wrong limit: it turns away ``contamination`` of all normals, and the bank would never learn them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.metrics.thresholds.conformal import conformal_rank
from uad_orchestrator.orchestration.cells.artifact_files import read_operating_point
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.open_detector import open_detector
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.storage.artifacts import ArtifactError

if TYPE_CHECKING:
    from uad_orchestrator.images.source import ImageSource
    from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool

Rule = Literal["majority", "any", "all"]


@dataclass(frozen=True)
class Vote:
    """One detector's word on one image.

    Attributes:
        score: the image score; NaN where the detector could not score it.
        limit: a score above it is none of a normal image; NaN where there is none.
        fault: why it could not say anything; empty if it could.
        abstains: it has no held-out normals to compare with, and never will have: it does not count.
    """

    score: float = math.nan
    limit: float = math.nan
    fault: str = ""
    abstains: bool = False

    @property
    def normal(self) -> bool:
        """Whether the detector finds the image normal."""
        return not self.fault and self.score <= self.limit

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        return f"score {self.score:.4g}, limit {self.limit:.4g}"


def vote_limit(scores: Sequence[float], quantile: float) -> float:
    """The conformal ``quantile`` of held-out normal scores; their largest where they are too few for it.

    >>> vote_limit([0.1, 0.4, 0.2, 0.3], 0.999)
    0.4
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return float(ordered[min(conformal_rank(len(ordered), 1 - quantile), len(ordered)) - 1])


def collect_votes(
    runs: Sequence[CellRun], embedders: EmbedderPool, images: Sequence[ImageSource], quantile: float
) -> dict[str, dict[str, Vote]]:
    """What every detector says to every image: digest -> detector -> vote."""
    votes: dict[str, dict[str, Vote]] = {image.digest: {} for image in images}
    for run in runs:
        for digest, vote in _votes_of(run, embedders, images, quantile).items():
            votes[digest][run.cell.detector] = vote
    return votes


def objection(votes: Mapping[str, Vote], rule: Rule) -> str | None:
    """Why the detectors turn an image away; None if enough of them find it normal.

    A detector that could not say anything, e.g. because its score table is missing, does not find it normal:
    a defect in the memory bank is worse than a missing normal.
    """
    counted = {name: vote for name, vote in votes.items() if not vote.abstains}
    normal = sum(vote.normal for vote in counted.values())
    enough = {
        "any": normal >= 1,
        "majority": 2 * normal > len(counted),
        "all": normal == len(counted) > 0,
    }
    if enough[rule]:
        return None
    if not counted:
        return "no detector has held-out normal scores to compare it with"
    against = [f"{name}: {vote}" for name, vote in counted.items() if not vote.normal]
    return f"{normal} of {len(counted)} detectors find it normal, {rule} is asked for; " + "; ".join(against)


def _votes_of(
    run: CellRun, embedders: EmbedderPool, images: Sequence[ImageSource], quantile: float
) -> dict[str, Vote]:
    try:
        scores = run.directory("score_table")
        aside = read_operating_point(scores).left_aside  # a defect among the normals lets no other one in
        rows = (row for row in read_scores(scores) if row.role == "calibration")
        held_out = [row.score for row in rows if row.image not in aside]
        if not held_out:
            return {image.digest: Vote(fault="no held-out normals", abstains=True) for image in images}
        limit = vote_limit(held_out, quantile)
        state = DetectorState.load(run.directory("memory_bank"))
        responses = open_detector(run, embedders).respond(state, images)
        return {
            image.digest: _vote(response.score, limit)
            for image, response in zip(images, responses, strict=True)
        }
    except (MissingUpstream, ArtifactError) as error:
        fault = f"no current score table ({error})"
    except (InputUnavailable, ImportError, OSError, ValueError, RuntimeError) as error:
        fault = f"could not score it ({error})"
    return {image.digest: Vote(fault=fault) for image in images}


def _vote(score: float, limit: float) -> Vote:
    return Vote(score, limit) if math.isfinite(score) else Vote(fault="its score is not finite")
