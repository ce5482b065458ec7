"""What speaks against a day of the line: pure functions of its health and of the project's ``line`` section.

Each check corrects for the quantities that it looks at (Bonferroni), so that it speaks up by chance on one stable day
in ``1 / p`` at most. None says anything of a day with few parts; ``decided`` in the figures tells such a silence from
a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uad_orchestrator.inference.records.health import LineHealth, Share
from uad_orchestrator.inference.records.record import LOOKS
from uad_orchestrator.metrics.line.drift import Shift
from uad_orchestrator.orchestration.cells.findings.verdict import Verdict
from uad_orchestrator.project.settings import LineSettings

DECIDED = "decided"
"""Among a verdict's figures: whether there was enough to judge by."""


def score_drift(health: LineHealth, settings: LineSettings) -> Verdict:
    """The scores of the day's parts are spread as those of the calibration normals."""
    return _drift(health, settings, ("score",), "score")


def look_drift(health: LineHealth, settings: LineSettings) -> Verdict:
    """Brightness, sharpness and colours of the day's parts are spread as those of the calibration normals."""
    return _drift(health, settings, LOOKS, "look")


def alarm_rate(health: LineHealth, settings: LineSettings) -> Verdict:
    """No more of the day's parts are rejected, or in review, than calibration promised."""
    if few := _too_few(health, settings):
        return few
    asked = {"rejected": "rejected", "alarms": "rejected or in review"}
    known = [
        (name, share, share.p, share.expected)
        for name in asked
        if (share := health.shares.get(name)) and share.p is not None and share.expected is not None
    ]
    if not known:
        return _undecided(health.missing.get("alarms", "no rate was promised"))
    rules, figures = settings.alarms, dict[str, Any]()
    loud, said = [], []
    for name, share, p, expected in known:
        figures |= {f"{name}_share": share.share, f"{name}_expected": expected, f"{name}_p": p}
        said.append(f"{asked[name]}: {_in_words(share)}")
        if p <= rules.p / len(known) and share.share >= rules.factor * expected:
            loud.append(asked[name])
    more = f"more parts than promised are {loud[-1]}; " if loud else ""
    return _verdict(health, not loud, more + "; ".join(said), figures)


def _drift(health: LineHealth, settings: LineSettings, names: Sequence[str], what: str) -> Verdict:
    if few := _too_few(health, settings):
        return few
    known = {name: health.shifts[name] for name in names if name in health.shifts}
    if not known:
        return _undecided(
            health.missing.get(what, f"no {what} was recorded, or none of the normals is known")
        )
    rules = settings.drift
    level = rules.p / len(known)
    far = {
        name: shift
        for name, shift in known.items()
        if shift.p <= level and shift.wasserstein >= rules.distance
    }
    figures = {
        f"{name}_{figure}": getattr(shift, figure)
        for name, shift in known.items()
        for figure in ("ks", "p", "wasserstein")
    }
    normals = min(shift.normals for shift in known.values())
    needed = max(shift.needed(level) for shift in known.values())
    figures |= {"normals": normals, "ks_needed": needed}
    if far:
        said = "; ".join(_moved(name, shift) for name, shift in far.items())
        return _verdict(health, False, f"{said}, against {normals} calibration normals", figures)
    farthest = max(known, key=lambda name: known[name].wasserstein)
    said = f"as the {normals} calibration normals; farthest is {_moved(farthest, known[farthest])}"
    if needed > 0.5:
        said += f". So few normals show only large shifts: from a distance of {needed:.2f} on"
    return _verdict(health, True, said, figures)


def _moved(name: str, shift: Shift) -> str:
    way = "up" if shift.median > shift.normal_median else "down"
    return (
        f"{name} {way} by {shift.wasserstein:.2f} spreads (median {shift.normal_median:.4g} -> {shift.median:.4g}, "
        f"Kolmogorov-Smirnov distance {shift.ks:.2f}, by chance {shift.p:.2g})"
    )


def _in_words(share: Share) -> str:
    return (
        f"{share.count} of {share.parts} parts ({share.share:.2%}, {share.low:.2%} to {share.high:.2%}), "
        f"{share.expected:.2%} at most were to be expected, by chance {share.p:.2g}"
    )


def _too_few(health: LineHealth, settings: LineSettings) -> Verdict | None:
    if health.parts >= settings.min_parts:
        return None
    return _undecided(
        f"{health.parts} parts{_others(health)}: {settings.min_parts} are needed to say anything"
    )


def _undecided(why: str) -> Verdict:
    return Verdict(True, f"cannot be said: {why}", {DECIDED: False}, is_error=False)


def _verdict(health: LineHealth, passed: bool, said: str, figures: dict[str, Any]) -> Verdict:
    about = f" (of {health.parts} parts{_others(health)})" if health.other_parts else ""
    return Verdict(passed, said + about, {DECIDED: True, **figures}, is_error=False)


def _others(health: LineHealth) -> str:
    """Two bundles of one cell may be on the line at once: those of the one that spoke last are looked at."""
    return f", and {health.other_parts} judged by another model or threshold" if health.other_parts else ""
