"""Which normals set a detector's operating points, and how: never by a bank that knows them by heart.

A fitted image is scored without what was learnt from it. Of a coreset that is not enough: greedy search keeps no second
row where the image's own row already covers others, so that its rows leave a hole which a new image does not find, and
the threshold would be too high (twice what it should be at a coreset of 1 % of small sets). So other images' patches
take the rows' place first, as if the bank had been built without the image (``states_without``). Where that would
take long it is done for a few groups, and the scores of all others are brought down as theirs are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from uad_orchestrator.detectors.protocol.settings import CalibrationSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, groups_by_digest
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.metrics.thresholds.operating_point import OPTIMISTIC

FOLDER = "calibration folder"
"""The source of thresholds from the normals that ``calibration: {folder: ...}`` names."""

Answer = TypeVar("Answer")

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


def of_some_groups(
    images: Sequence[ImageSource], group_of: Mapping[str, str], most: int
) -> list[ImageSource]:
    """The images of so many groups, evenly chosen in the order in which they come.

    Args:
        images: fitted ones.
        group_of: the group of each, by its digest.
        most: groups that are chosen; all where there are no more.

    Returns:
        Whole groups, in the images' order.
    """
    groups = list(dict.fromkeys(group_of[image.digest] for image in images))
    places = np.linspace(0, len(groups) - 1, min(most, len(groups))).round().astype(int)
    chosen = {groups[place] for place in places}
    return [image for image in images if group_of[image.digest] in chosen]


def how_refilled(
    images: Sequence[ImageSource], some: Sequence[ImageSource], group_of: Mapping[str, str]
) -> str:
    """What the end of a source says of it: that other rows took the place of the images', or of how many groups'.

    Args:
        images: that calibrate.
        some: of them, those whose rows' place was taken.
        group_of: the group of each, by its digest.

    Returns:
        Nothing where there are none.
    """
    if not some:
        return ""
    groups = len({group_of[image.digest] for image in some})
    return ", refilled" if len(some) == len(images) else f", scaled by {groups} refilled"


def responses_without(
    images: Sequence[ImageSource],
    group_of: Mapping[str, str],
    states: Callable[[Sequence[str]], Iterator[DetectorState]],
    respond: Callable[[DetectorState, Sequence[ImageSource]], Iterable[Answer]],
) -> Iterator[Answer]:
    """The answers to images, in order, each by a state that holds nothing of its group.

    Args:
        images: fitted ones.
        group_of: the group of each, by its digest.
        states: a state per group, one at a time.
        respond: the answers by a state: responses, or pairs of them.

    Returns:
        The answers; those of a group are held until their turn.
    """
    of_group: dict[str, list[ImageSource]] = {}
    for image in images:
        of_group.setdefault(group_of[image.digest], []).append(image)
    made = zip(of_group.values(), states(list(of_group)), strict=True)
    waiting: dict[str, list[Answer]] = {}  # copies of an image are answered each
    for image in images:
        if not waiting.get(image.digest):
            group, state = next(made)
            for each, answer in zip(group, respond(state, group), strict=True):
                waiting.setdefault(each.digest, []).append(answer)
        yield waiting[image.digest].pop(0)


def scaled_responses(
    images: Sequence[ImageSource],
    some: Sequence[ImageSource],
    both: Iterable[tuple[Response, Response]],
    left_out: Callable[[Sequence[ImageSource]], Iterable[Response]],
) -> Iterator[Response]:
    """The responses to some images, and those to all others times the ratio that some have on average.

    Args:
        images: fitted ones.
        some: of them.
        both: the responses to ``some``, other rows in the place of theirs, and those where theirs leave holes.
        left_out: the responses to images whose rows leave holes.

    Returns:
        The responses, in order: scores and patch grids by one ratio.
    """
    answers = list(both)
    known = {image.digest: refilled for image, (refilled, _) in zip(some, answers, strict=True)}
    holed = sum(response.score for _, response in answers)
    ratio = sum(response.score for response, _ in answers) / holed if holed > 0 else 1.0
    others = iter(left_out([image for image in images if image.digest not in known]))
    for image in images:
        yield known[image.digest] if image.digest in known else _scaled(next(others), ratio)


def _scaled(response: Response, ratio: float) -> Response:
    grid = response.patch_grid
    grid = None if grid is None else grid * np.float32(ratio)
    return replace(response, score=response.score * ratio, patch_grid=grid)


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
