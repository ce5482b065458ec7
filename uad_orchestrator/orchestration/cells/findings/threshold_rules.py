"""What speaks against thresholds, calibrated or pinned: pure functions of scores, operating points and reports."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from uad_orchestrator.detectors.protocol.scoring import ScoreRow
from uad_orchestrator.detectors.protocol.settings import CalibrationSettings
from uad_orchestrator.metrics.report import MetricsReport, OperatingPointReport
from uad_orchestrator.metrics.thresholds.conformal import LIMIT_LEVEL, RateLaw, scores_needed
from uad_orchestrator.metrics.thresholds.operating_point import OPTIMISTIC, OperatingPoint
from uad_orchestrator.metrics.thresholds.outliers import odd_scores, stands_alone
from uad_orchestrator.orchestration.cells.findings.verdict import SHOWN, Verdict
from uad_orchestrator.orchestration.cells.points_in_use import scores_digest
from uad_orchestrator.project.pinning import Of

USUAL_MOST = CalibrationSettings().max_images
"""Normals that calibrate at most, where the project file does not say another number."""


_ByRole = Mapping[str, Sequence[ScoreRow]]
"""Normals that calibrate, and normal test images."""


def false_positive_rate(rows: Sequence[ScoreRow], point: OperatingPoint, level: float) -> Verdict:
    """Whether as many held-out normals lie above the threshold as its rank says: neither more nor fewer.

    The calibration normals must not exceed it more often than that, else threshold and scores do not belong together.
    Of the test normals a share above or below the nominal rate is chance up to a point: if normals are exchangeable,
    the number above the r-th smallest of n calibration scores follows a beta-binomial law with parameters n + 1 - r
    and r (Vovk, "Conditional validity of inductive conformal predictors", 2012). It fails where so many, or more, had
    a probability below ``level``: the threshold promises too much; and where so few, or fewer, had: it is too high,
    and defects below it are missed for nothing. Of a threshold that was pinned as a value no law is known: it fails
    where half of these normals, or more, lie above it.
    """
    if math.isnan(point.threshold):
        none = f"there is no threshold: {point.source}"
        return Verdict(True, none, {"threshold_source": point.source})
    normals = _normals(rows)
    above = {role: [row for row in of if row.score > point.threshold] for role, of in normals.items()}
    if point.is_pinned_value:
        return _pinned_rate(normals, above, point)
    return _rate_by_law(normals, above, point, level)


def _rate_by_law(normals: _ByRole, above: _ByRole, point: OperatingPoint, level: float) -> Verdict:
    tested, seen = len(normals["test"]), len(above["test"])
    law = RateLaw.of_rank(point.place, point.n, point.largest_group or 1)
    so_few, so_many = law.chances(tested)
    level = min(level, 0.5 - 1e-9)  # each side's: beyond, and at a half by rounding, no count would be usual
    expected = np.flatnonzero((so_few >= level) & (so_many >= level))
    figures = {
        "nominal": point.contamination,
        "expected": law.mean,
        "calibration_rate": _share(len(above["calibration"]), len(normals["calibration"])),
        "test_rate": _share(seen, tested),
        "test_normals": tested,
        "chance_of_so_many": float(so_many[seen]),
        "chance_of_so_few": float(so_few[seen]),
    }
    most = point.n - point.place + len(point.left_aside)
    if len(above["calibration"]) > most:
        said = (
            f"{len(above['calibration'])} of {len(normals['calibration'])} calibration normals lie above the "
            f"threshold, at most {most} can: the threshold is not of these scores"
        )
        return Verdict(False, said, figures)
    if not tested:
        return Verdict(True, "there are no normal test images", figures, is_error=False)
    said = (
        f"{seen} of {tested} normal test images lie above the threshold, {expected[0]} to {expected[-1]} are expected "
        f"(rate {law.mean:.2g} from {point.n} normals, contamination {point.contamination:g})"
    )
    if so_many[seen] < level:
        said += (
            f"; so many by chance: {so_many[seen]:.2g}. They are unlike the normals that calibrate: look at them, and "
            "add normals of their kind, or take those out that are none"
        )
        images = tuple(row.image for row in above["test"])
        return Verdict(False, said, figures, is_error=False, images=images)
    if so_few[seen] < level:
        said += (
            f"; so few by chance: {so_few[seen]:.2g}. The threshold is too high, and defects below it are missed: "
            "calibrate on normals like the tested ones, a validation split, or raise contamination"
        )
        return Verdict(False, said, figures, is_error=False)
    return Verdict(True, said, figures, is_error=False)


def _pinned_rate(normals: _ByRole, above: _ByRole, point: OperatingPoint) -> Verdict:
    counts = {role: (len(above[role]), len(normals[role])) for role in normals}
    figures = {"threshold_source": point.source} | {
        f"{role}_rate": _share(count, of) for role, (count, of) in counts.items()
    }
    kinds = {"calibration": "calibration normals", "test": "normal test images"}
    listed = " and ".join(f"{count} of {of} {kinds[role]}" for role, (count, of) in counts.items() if of)
    said = f"{point.unguaranteed}; {listed or 'no normals'} lie above it"
    alarms, seen = (sum(both) for both in zip(*counts.values(), strict=True))
    most = seen > 0 and 2 * alarms >= seen
    if most:
        said += ": it calls half of the good parts anomalous, or more. Choose it anew with `uad threshold`"
    return Verdict(not most, said, figures, is_error=False)


def pinned_points(report: MetricsReport) -> Verdict:
    """Thresholds that were pinned as values are of the scores that there are, and some defect lies above them.

    One that is pinned by its false-positive rate follows the normals.

    Args:
        report: of the cell.
    """
    points: dict[Of, OperatingPointReport] = {
        "image": report.image_operating_point,
        "pixel": report.pixel_operating_point,
    }
    pinned = [of for of, at in points.items() if at.pinned is not None and at.pinned.threshold is not None]
    said = [f"the {of} threshold: {fault}" for of in pinned for fault in _pin_faults(of, points[of], report)]
    if said:
        advice = "look at it again with `uad threshold`"
        return Verdict(False, f"{'; '.join(said)}: {advice}", {"pinned": pinned}, is_error=False)
    return Verdict(True, "no pinned value is in question", {"pinned": pinned})


def _pin_faults(of: Of, at: OperatingPointReport, report: MetricsReport) -> Iterator[str]:
    pin = at.pinned
    assert pin is not None
    if pin.scores is not None and pin.scores != scores_digest(report.versions, of):
        yield f"{at.threshold:.6g}, {pin}, was chosen when memory bank or settings of the scores were others"
    if at.recall == 0:
        whose = "defective test image" if of == "image" else "pixel of a defect"
        yield f"no {whose} lies above {at.threshold:.6g}, {pin}"


def enough_normals(point: OperatingPoint, pixel_point: OperatingPoint | None = None) -> Verdict:
    """The normals are enough for the false-positive rate that ``contamination`` asks for.

    Args:
        point: the image threshold; where it passes, the other is looked at.
        pixel_point: the threshold of map pixels; None: it is not looked at.
    """
    needed = scores_needed(point.contamination)
    figures = {"n": point.n, **({} if point.unguaranteed else point.promise)}
    if point.n < needed and not point.unguaranteed:
        least = 1 / (point.n + 1)
        let_in = f", with `calibration: {{max_images: {needed}}}`" if needed > USUAL_MOST else ""
        ask = f", or ask for what they support: contamination {math.ceil(1000 * least) / 1000:g}"
        whose, enough, more = "", "are needed", f"normals{let_in}{ask if least < 0.5 else ''}"
        if point.largest_group != 1:  # for a new group no contamination is supported by single images
            whose, enough, more = " for an image of a new group", "at least are needed", f"groups{let_in}"
        said = (
            f"contamination {point.contamination:g} is asked for, {point.guaranteed_rate:.2g} is guaranteed{whose}: "
            f"{point.n} normals set the threshold, {needed} {enough} (with {LIMIT_LEVEL:.0%} confidence the rate is "
            f"at most {point.false_positive_limit:.2g}). Add {more}"
        )
        return Verdict(False, said, figures, is_error=False)
    if pixel_point is not None and not (found := enough_normals(pixel_point)).passed:
        return replace(found, said=f"of map pixels: {found.said}")
    return Verdict(True, point.unguaranteed or f"{point.n} normals, {needed} are needed", figures)


def odd_normals(
    rows: Sequence[ScoreRow], point: OperatingPoint, pixel_point: OperatingPoint | None = None
) -> Verdict:
    """No calibration normal scores far above all others, and no single one sets the threshold.

    Whether an odd one was left aside or counts (``calibration: {robust: false}``): it is in the memory bank, or shows
    what the model does not know.

    Args:
        rows: the score table.
        point: the image threshold.
        pixel_point: the threshold of map pixels; None: it is not looked at.
    """
    normals = _normals(rows)["calibration"]
    odd = [normals[i] for i in odd_scores([row.score for row in normals])]
    others = sorted((row for row in normals if row not in odd), key=lambda row: -row.score)
    if odd:
        done = (
            "left aside for the threshold"
            if point.left_aside
            else "it counts (`calibration: {robust: false}`)"
        )
        said = (
            f"{_listed(odd)} far above the other {len(others)} (at most {others[0].score:.3g}): {done}. "
            "Look at it: a defect is taken out by `exclude:`, a rare kind of normal needs more of its kind"
        )
        figures = {"odd": [f"{row.image}: {row.score:.4g}" for row in odd], "largest_other": others[0].score}
        return Verdict(False, said, figures, is_error=False, images=tuple(row.image for row in odd))
    if stands_alone([row.score for row in others[::-1]]) and point.threshold == others[0].score:
        said = (
            f"one image sets the threshold: {_listed(others[:1])}, the next of {len(others)} {others[1].score:.3g}; "
            "look at it, and calibrate on more normals"
        )
        return Verdict(False, said, {"n": len(others)}, is_error=False, images=(others[0].image,))
    if pixel_point is not None and not (of_maps := odd_maps(pixel_point)).passed:
        return of_maps
    return Verdict(True, "no calibration score lies far above all others", {"n": len(normals)})


def odd_maps(point: OperatingPoint) -> Verdict:
    """No normal's anomaly map lies far above all others, and no single one sets the pixel threshold."""
    if point.left_aside:
        names = ", ".join(point.left_aside[:SHOWN])
        said = f"the anomaly map of {names} is far above the others': left aside for the pixel threshold"
        return Verdict(False, said, {"odd": list(point.left_aside)}, False, point.left_aside)
    if point.set_by is not None:
        said = (
            f"one image sets the pixel threshold: the anomaly map of {point.set_by}, three times above the others' or "
            "more; look at it, and calibrate on more normals"
        )
        return Verdict(False, said, {"odd": [point.set_by]}, False, (point.set_by,))
    return Verdict(True, "no normal's anomaly map lies far above all others", {"n": point.n}, is_error=False)


def calibrated_on_unseen(point: OperatingPoint, holds_normals: bool) -> Verdict:
    """The threshold comes from normals the model has not seen, or it is said that nobody knows.

    Args:
        point: the image threshold with its source.
        holds_normals: the model keeps features of the normals it was trained on, which score next to nothing then.
    """
    if point.origin != OPTIMISTIC:
        return Verdict(True, point.source, {"n": point.n})
    said = "from training normals, which the checkpoint may have seen: then the threshold is too low"
    advice = "name a folder of normals it has not seen: calibration: {folder: ...}"
    return Verdict(False, f"{said}; {advice}", {"n": point.n}, is_error=holds_normals)


def _listed(rows: Sequence[ScoreRow]) -> str:
    return ", ".join(f"{row.image} scores {row.score:.3g}" for row in rows[:SHOWN])


def _normals(rows: Sequence[ScoreRow]) -> dict[str, list[ScoreRow]]:
    return {
        role: [row for row in rows if row.role == role and row.label == 0] for role in ("calibration", "test")
    }


def _share(count: int, of: int) -> float | str:
    return count / of if of else "none there"
