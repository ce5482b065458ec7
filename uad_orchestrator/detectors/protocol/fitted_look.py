"""What a detector was fitted on, noted while it is fitted: a fact of its state that inference holds new images to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.decode import ImageError, RgbImage
from uad_orchestrator.images.look import FittedOn, Look, look_at
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.threads import available_threads, ordered_map

Fit = Callable[[Sequence[ImageSource]], DetectorState]

FITTED_ON = "fitted_on"
"""The fact of a state that has it (``FittedOn.to_json``); states of earlier versions lack it."""

LOOKED_AT = 32
"""Images that are looked at, evenly spread: which ones never depends on what a cache holds."""

MEASURED = 1000
"""Images whose size is read from their header, evenly spread."""


def fit_noting_look(fit: Fit, images: Sequence[ImageSource]) -> DetectorState:
    """A state fitted on images, and the fact ``fitted_on`` with it.

    Images are looked at while they are read for the fit; those that the embedding cache has are read for it.

    Args:
        fit: ``Detector.fit_state``.
        images: the normals.

    Returns:
        The state with the fact; without it where none of the images can be read any more.
    """
    looks: dict[int, Look] = {}
    sample = {int(i) for i in np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images)))}
    state = fit([_noting(image, looks, i) if i in sample else image for i, image in enumerate(images)])
    missing = [images[i] for i in sorted(sample - looks.keys())]
    threads = available_threads()
    found = [*looks.values(), *filter(None, ordered_map(_look, missing, threads=threads, ahead=threads))]
    if not found:
        return state
    fitted_on = FittedOn.of(found, _sizes(images))
    return replace(state, facts={**state.facts, FITTED_ON: fitted_on.to_json()})


def fitted_on(state: DetectorState) -> FittedOn | None:
    """What a state was fitted on; None for one of an earlier version."""
    noted = state.facts.get(FITTED_ON)
    return None if noted is None else FittedOn.from_json(noted)


def _noting(image: ImageSource, looks: dict[int, Look], number: int) -> ImageSource:
    def read() -> RgbImage:
        pixels = image.read()
        if number not in looks:
            looks[number] = Look.of(pixels)
        return pixels

    return replace(image, read=read)


def _look(image: ImageSource) -> Look | None:
    try:
        return look_at(image)
    except ImageError:  # it was embedded before, and is gone
        return None


def _sizes(images: Sequence[ImageSource]) -> set[tuple[int, int]]:
    sizes = set()
    for i in np.linspace(0, len(images) - 1, min(MEASURED, len(images))):
        if (measure := images[int(i)].measure) is not None:
            with suppress(ImageError):
                sizes.add(measure())
    return sizes
