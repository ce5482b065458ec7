"""What speaks against a category's files, as pure functions of its manifest."""

from __future__ import annotations

from collections.abc import Sequence

from uad_orchestrator.datasets.checks.copies import find_copies, find_undecodable
from uad_orchestrator.datasets.checks.headers import check_category
from uad_orchestrator.datasets.checks.masks import check_masks
from uad_orchestrator.datasets.checks.remembered import Remember, find_anew
from uad_orchestrator.datasets.leaks import find_exact_copies
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.orchestration.cells.findings.verdict import SHOWN, Verdict


def images_decodable(manifest: Manifest, remember: Remember = find_anew) -> Verdict:
    """Every image can be decoded in full: damage in the middle of a file shows in no header."""
    problems = find_undecodable(manifest, remember)
    return _of_problems(problems, f"{len(manifest.records)} images can be decoded")


def masks_match(manifest: Manifest, remember: Remember = find_anew) -> Verdict:
    """Every mask can be decoded, is of its image's size, and shows a defect where its image has one.

    A category without any mask passes: its pixel metrics are undefined, and say so themselves.
    """
    anomalous = [record for record in manifest.test if record.label == 1]
    masks = {mask.path for record in anomalous for mask in record.masks}
    if not masks:
        return Verdict(True, "no masks are published for this category", {"masks": 0})
    lacking = [record.path for record in anomalous if not record.masks]
    problems = [DatasetProblem(path, "an anomalous image without a mask", "warning") for path in lacking]
    problems += [problem for problem in check_category(manifest) if problem.path in masks]
    return _of_problems(
        [*problems, *check_masks(manifest, remember)], f"{len(masks)} masks match their images"
    )


def no_test_image_in_training(manifest: Manifest, remember: Remember = find_anew) -> Verdict:
    """No validation or test image is a copy of a training image: any score would be too good."""
    copies = find_exact_copies(manifest) + find_copies(manifest, remember)
    return _of_problems(copies, "no image is both trained on and tested")


def _of_problems(problems: Sequence[DatasetProblem], well: str) -> Verdict:
    if not problems:
        return Verdict(True, well, {"problems": 0})
    listed = [str(problem) for problem in problems[:SHOWN]]
    said = listed[0] if len(problems) == 1 else f"{len(problems)} problems, the first: {listed[0]}"
    is_error = any(problem.severity == "error" for problem in problems)
    images = tuple(problem.path for problem in problems)
    return Verdict(False, said, {"problems": len(problems), "listed": listed}, is_error, images)
