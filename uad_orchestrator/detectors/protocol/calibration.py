"""Which normals set a detector's operating points: never those its bank knows by heart.

Leaving an image out of a thinned bank is not quite the same as thinning without it: greedy search keeps no
second row where the image's own row already covers others, so the image left out may find a hole that a new
image would not, and the threshold leans to the high side (fewer false alarms). Measured against refitting
without the image, the 0.9 quantile of the scores is 0.96 to 1.01 times as large on embeddings of real parts
at ratio 0.1, and 1.00 to 1.2 on small sets of simple features. Where hardly any patch recurs it is larger
still: there give validation normals, or ``coreset: {method: random}``, which has no such lean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from uad_orchestrator.detectors.protocol.settings import CalibrationSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, groups_by_digest
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.metrics.operating_point import OPTIMISTIC

FOLDER = "calibration folder"
"""The source of thresholds from the normals that ``calibration: {folder: ...}`` names."""

CalibrationImages = tuple[list[ImageSource], str, bool]
"""The normals, where they come from (as in ``OperatingPoint.source``), whether to leave each out."""


def choose_calibration_images(
    state: DetectorState,
    train: Sequence[ImageSource],
    validation: Sequence[ImageSource],
    settings: CalibrationSettings,
    can_leave_out: Callable[[ImageSource], bool],
) -> CalibrationImages:
    """The normals to calibrate on, best first: published validation normals, then train normals that were not
    fitted (few-shot), then those that were, each scored without what was learnt from its own group.

    Args:
        state: a fitted state; its fact ``images`` names those it was fitted on.
        train: the normals it was fitted on, and those that were at hand.
        validation: held-out normals.
        settings: at most how many, chosen by which seed.
        can_leave_out: whether an image it was fitted on can be scored without what it learnt from it.

    Returns:
        images in their order, the source, ``leave_out``. Where nothing can calibrate: no images, and a source
        that begins with ``none: `` and says why.
    """
    held = groups_by_digest(state)
    groups = set(held.values())
    if unseen := [image for image in validation if image.digest not in held]:
        return _some(unseen, settings), "validation", False
    if unseen := [image for image in train if image.digest not in held and image.group not in groups]:
        return _some(unseen, settings), "held_out", False
    fitted = list({image.digest: image for image in reversed(train) if image.digest in held}.values())[::-1]
    if left := [image for image in fitted if can_leave_out(image)]:
        whole = len(groups) < len(held)
        return _some(left, settings), "leave_one_group_out" if whole else "leave_one_image_out", True
    return [], _why_not(len(held), len(groups)), False


def optimistic_calibration(train: Sequence[ImageSource], settings: CalibrationSettings) -> CalibrationImages:
    """The training normals of a model that may have seen them: the thresholds are too low if it has."""
    return _some(list(train), settings), OPTIMISTIC, False


def folder_calibration(images: Sequence[ImageSource], settings: CalibrationSettings) -> CalibrationImages:
    """Normals that the user says the model has not seen."""
    return _some(list(images), settings), FOLDER, False


def largest_group(images: Iterable[ImageSource]) -> int:
    """Most images of one group among some; 1 where none share a group."""
    return max(Counter(image.group for image in images).values(), default=1)


def _some(images: list[ImageSource], settings: CalibrationSettings) -> list[ImageSource]:
    if len(images) <= settings.max_images:
        return images
    chosen = np.random.default_rng(settings.seed).choice(len(images), settings.max_images, replace=False)
    return [images[i] for i in np.sort(chosen)]


def _why_not(images: int, groups: int) -> str:
    if images == 1:
        held = "the bank holds a single image and there are no other normals to calibrate on"
    elif groups == 1:
        held = f"all {images} images of the bank show one part (one group) and there are no other normals"
    else:
        held = "the bank's rows come from too few images to leave one out, and there are no other normals"
    return f"none: {held}; add validation normals, or more images"
