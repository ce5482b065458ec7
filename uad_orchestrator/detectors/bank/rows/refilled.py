"""Banks as they would be had some images not been there: without their rows, and others in the place of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import NamedTuple

import numpy as np

from uad_orchestrator.detectors.bank.rows.kept_rows import KeptRows
from uad_orchestrator.detectors.bank.rows.patches import (
    KEPT_BYTES,
    BankRecipe,
    Coreset,
    Patches,
    by_distance,
    collect_rows,
    eligible_patches,
    gather,
)
from uad_orchestrator.detectors.bank.rows.searched_patches import take_patches
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.memory.greedy_search import integer_points
from uad_orchestrator.memory.refill import density_without, greedy_without

LONG_SEARCH = 5e9
"""Multiplications, of all patches with all rows, up to which every group is refilled: a second or two."""

SAMPLED = 10
"""So many groups are refilled where that takes longer."""


def groups_to_refill(state: DetectorState, recipe: BankRecipe) -> int:
    """For how many groups a bank is refilled; what is counted decides, never time.

    For none where there are no holes: where every patch or a random part of them was kept, and rows weigh the same
    without an image. A bank that is searched through an index is left as it is: an index per image would cost more than
    all searches.
    """
    rows, patches = len(state.arrays["bank"]), state.facts["patches"]
    if not by_distance(recipe.coreset) or "cells" in state.arrays:
        return 0
    if rows >= patches and recipe.weigh_without is None:
        return 0
    groups = len({image["group"] for image in state.facts["images"]})
    dimension = min(recipe.coreset.projection_dim, state.facts["dimension"])
    return groups if rows * patches * dimension <= LONG_SEARCH else min(groups, SAMPLED)


def refilled_banks(
    stream: EmbeddingStream,
    state: DetectorState,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    groups: Sequence[str],
) -> Iterator[DetectorState]:
    """The bank without each of the groups: as many rows of the others' patches stand in place of the group's.

    Args:
        stream: gives the patches once more, from its cache.
        state: as ``build_bank`` made it.
        images: all it was fitted on, in any order.
        recipe: that it was built by.
        groups: of the images; one after the other.

    Returns:
        A state per group, whose images are there still, without rows.
    """
    by_digest = {image.digest: image for image in images}
    fitted = [by_digest[image["digest"]] for image in state.facts["images"]]
    rows, precision = state.arrays["rows"], state.facts["precision"]
    kept = KeptRows("float32" if recipe.normalised else precision, KEPT_BYTES)
    with stream.caching():
        left = take_patches(stream, fitted, recipe, precision, rows)
        patches, coreset = left or (
            gather(stream, fitted, recipe, precision, kept),
            Coreset(rows, state.arrays.get("turns"), state.arrays.get("nearest")),
        )
        spans = [_images_of(group, state) for group in groups]
        banks = list(_banks_without(patches, coreset, recipe, spans, stream.device))
        starts = patches.starts
        del patches
        added = np.setdiff1d(np.concatenate([bank.rows for bank in banks]), rows)
        dimension = state.arrays["bank"].shape[1]
        (found,) = collect_rows(stream, fitted, recipe, precision, starts, kept, (added,), dimension)
    del kept
    for numbers, weights in banks:
        known = np.isin(numbers, rows)
        place = np.minimum(np.searchsorted(rows, numbers), len(rows) - 1)
        bank = np.take(state.arrays["bank"], place, axis=0)
        bank[~known] = found[np.searchsorted(added, numbers[~known])]
        arrays = {"bank": bank, "rows": numbers, "row_starts": np.searchsorted(numbers, starts)}
        if weights is not None:
            arrays["weights"] = weights
        yield DetectorState(arrays, state.facts)


class _Bank(NamedTuple):
    """The numbers of a bank's rows among all patches, and their weights, where there are any."""

    rows: np.ndarray
    weights: np.ndarray | None


def _images_of(group: str, state: DetectorState) -> slice:
    """The numbers of a group's images, which stand side by side."""
    own = [number for number, image in enumerate(state.facts["images"]) if image["group"] == group]
    return slice(own[0], own[-1] + 1)


def _banks_without(
    patches: Patches, coreset: Coreset, recipe: BankRecipe, spans: list[slice], device: str
) -> Iterator[_Bank]:
    """Per span of images a bank without them, of the others' patches that may come into the bank."""
    points, starts = patches.points, patches.starts
    assert points is not None  # by distance, or there would be no holes
    parts = [slice(int(starts[span.start]), int(starts[span.stop])) for span in spans]
    if recipe.weigh is None:
        points = points if patches.whole else _as_searched(points, recipe)
        for numbers in _rows_without(points, coreset, recipe, parts, None, device):
            yield _Bank(numbers, None)
        return
    if recipe.weigh_without is None:
        weights, without = patches.weights(recipe.weigh), None
    else:
        of_each = recipe.weigh_without(patches.weighed(), [slice(0, 0), *spans])
        weights, without = next(of_each), tee(of_each)
    # its rows among them, should a last digit of a weight be another than at the fit
    eligible = np.union1d(eligible_patches(weights, recipe.left_out), coreset.rows)
    bounds = [np.searchsorted(eligible, [part.start, part.stop]) for part in parts]
    own = [slice(int(start), int(stop)) for start, stop in bounds]
    nearest = None if coreset.nearest is None else coreset.nearest[eligible]
    coreset = coreset._replace(rows=np.searchsorted(eligible, coreset.rows), nearest=nearest)
    points = _as_searched(points[eligible], recipe)
    if without is None:
        for numbers in _rows_without(points, coreset, recipe, own, None, device):
            yield _Bank(eligible[numbers], weights[eligible[numbers]])
        return
    barred = (_left_out(each, recipe.left_out)[eligible] for each in without[0])
    banks = _rows_without(points, coreset, recipe, own, barred, device)
    for numbers, each in zip(banks, without[1], strict=True):
        yield _Bank(eligible[numbers], each[eligible[numbers]])


def _as_searched(points: np.ndarray, recipe: BankRecipe) -> np.ndarray:
    """Projected patches as the search for the coreset took them: whole numbers where that is greedy; overwritten."""
    return integer_points(points) if recipe.coreset.method == "batched_greedy" else points


def _left_out(weights: np.ndarray, left_out: float) -> np.ndarray:
    """``(n,)`` bool, the patches that may not come into the bank: of those that are there, the largest weights."""
    there = np.isfinite(weights)
    return weights > np.quantile(weights[there], 1 - left_out)


def _rows_without(
    points: np.ndarray,
    coreset: Coreset,
    recipe: BankRecipe,
    parts: list[slice],
    barred: Iterable[np.ndarray] | None,
    device: str,
) -> Iterator[np.ndarray]:
    """Per part the numbers of the rows of a bank without it."""
    rows, turns, nearest = coreset
    if recipe.coreset.method == "density":
        return density_without(points, rows, parts, recipe.seed, barred=barred, device=device)
    return greedy_without(
        points,
        rows,
        parts,
        recipe.seed,
        recipe.coreset.starting_points,
        turns=turns,
        nearest=nearest,
        barred=barred,
        device=device,
    )
