"""The thresholds that people chose, and the grey zone below them: what the file says of both, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from uad_orchestrator.project.catalogue import Catalogue
from uad_orchestrator.project.errors import shown
from uad_orchestrator.project.parsing.findings import Findings
from uad_orchestrator.project.settings import CellPins, DetectorEntry
from uad_orchestrator.spelling import choose_from

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.spec import DetectorSpec
    from uad_orchestrator.project.project import Project

SECTION = "operating_points"

Points = dict[str, dict[str, CellPins]]


def read_points(value: object, findings: Findings) -> Points:
    """The section, category key -> detector -> thresholds; what is wrong with it is noted."""
    points: Points = {}
    for category, detectors in findings.mapping(value, (SECTION,)).items():
        for detector, pins in findings.mapping(detectors, (SECTION, category)).items():
            place = (SECTION, category, detector)
            if (read := findings.check(CellPins, findings.mapping(pins, place), place)) is not None:
                points.setdefault(category, {})[detector] = read
    return points


def check_points(project: Project, catalogue: Catalogue, findings: Findings) -> None:
    """Note points of cells that there are not, or that have no threshold to choose."""
    known = project.category_keys()
    names = {key.partition("/")[0] for key in known}
    for category, detectors in project.operating_points.items():
        dataset = category.partition("/")[0]
        if dataset not in project.datasets or (dataset in names and category not in known):
            what = f"there is no category {shown(category)}"
            findings.add((SECTION, category), what, choose_from(category, known or project.datasets))
        _check_detectors(category, detectors, project.detectors, catalogue, findings)


def check_review(entry: DetectorEntry, spec: DetectorSpec, findings: Findings) -> None:
    """Review begins below the threshold: at a larger false-positive rate than that of the threshold."""
    if entry.review is None:
        return
    place = ("detectors", entry.name, "review")
    if spec.transductive:
        findings.add(place, f"{spec.model} has no threshold, so nothing lies below it", "take the key out")
    elif entry.review.from_fpr <= entry.scoring.contamination:
        what = f"is {entry.review.from_fpr:g}, but the threshold's own rate, contamination, is "
        advice = "review begins below the threshold: give a larger rate"
        findings.add((*place, "from_fpr"), f"{what}{entry.scoring.contamination:g}", advice)


def _check_detectors(
    category: str,
    pins: Mapping[str, CellPins],
    detectors: Mapping[str, DetectorEntry],
    catalogue: Catalogue,
    findings: Findings,
) -> None:
    for name, pinned in pins.items():
        place: Sequence[str] = (SECTION, category, name)
        if name not in detectors:
            findings.add((*place,), f"there is no detector {shown(name)}", choose_from(name, detectors))
            continue
        entry = detectors[name]
        if catalogue.detector_spec(entry.model).transductive:
            findings.add((*place,), f"{entry.model} has no threshold to choose", "take the entry out")
        rate = None if pinned.image is None else pinned.image.fpr
        if rate is not None and entry.review is not None and entry.review.from_fpr <= rate:
            what = f"is {rate:g}, but detectors.{name}.review.from_fpr is {entry.review.from_fpr:g}"
            advice = "review begins below the threshold: choose a smaller rate here, or a larger one there"
            findings.add((*place, "image", "fpr"), what, advice)
