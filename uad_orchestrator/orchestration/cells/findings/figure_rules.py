"""What speaks against scores and metrics: pure functions of a score table or of two reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from uad_orchestrator.detectors.protocol.scoring import ScoreRow
from uad_orchestrator.metrics.catalogue import find
from uad_orchestrator.orchestration.cells.findings.verdict import SHOWN, Verdict


def scores_usable(rows: Sequence[ScoreRow]) -> Verdict:
    """The test images' scores are finite and not all the same."""
    scores = [row.score for row in rows if row.role == "test"]
    infinite = [row.image for row in rows if not math.isfinite(row.score)]
    figures = {"images": len(scores), "not_finite": infinite[:SHOWN]}
    if infinite:
        return Verdict(False, f"{len(infinite)} scores are not finite", figures, images=tuple(infinite))
    figures |= {"smallest": min(scores, default=0.0), "largest": max(scores, default=0.0)}
    if len(scores) > 1 and figures["smallest"] == figures["largest"]:
        return Verdict(False, f"all {len(scores)} test images have the score {scores[0]:g}", figures)
    return Verdict(True, "the scores are finite and differ", figures)


def metrics_kept(before: Mapping[str, float | None], now: Mapping[str, float | None], most: float) -> Verdict:
    """No metric that both versions have fell by more than ``most``; one that became undefined fell, too.

    Where lower is better, to rise is to fall.
    """
    changes = {
        name: (earlier, now[name]) for name, earlier in before.items() if earlier is not None and name in now
    }
    fallen = {
        name: (old, new)
        for name, (old, new) in changes.items()
        if new is None or _loss(name, old, new) > most
    }
    table = {name: {"before": old, "now": new} for name, (old, new) in changes.items()}
    if not fallen:
        return Verdict(True, f"no metric fell by more than {most:g}", {"metrics": table}, is_error=False)
    listed = ", ".join(
        f"{name} {old:.4f} -> {'undefined' if new is None else f'{new:.4f}'}"
        for name, (old, new) in fallen.items()
    )
    return Verdict(False, f"fell by more than {most:g}: {listed}", {"metrics": table}, is_error=False)


def _loss(metric: str, before: float, now: float) -> float:
    """By how much a metric became worse."""
    known = find(metric)
    return now - before if known is not None and known.direction == "lower" else before - now
