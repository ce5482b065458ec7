"""A memory bank built from images: embedded, thinned to a coreset, collected, its coverage measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.bank.bank import unit_rows
from uad_orchestrator.detectors.bank.rows.kept_rows import KeptRows
from uad_orchestrator.detectors.bank.rows.patches import (
    KEPT_BYTES,
    BankRecipe,
    Coreset,
    by_distance,
    collect_rows,
    eligible_patches,
    gather,
    in_groups,
    views_of,
)
from uad_orchestrator.detectors.bank.rows.refilled import LONG_SEARCH
from uad_orchestrator.detectors.bank.rows.searched_patches import leave_patches
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream, Precision
from uad_orchestrator.detectors.protocol.stages import DetectorState, fitted_images
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.memory.approximate import choose_index
from uad_orchestrator.memory.coreset import coreset_size, coverage, density_rows, random_rows
from uad_orchestrator.memory.greedy_search import greedy_coreset, greedy_order
from uad_orchestrator.memory.nearest import NearestNeighbors
from uad_orchestrator.memory.nearest_chosen import KNOWN, NONE

COVERAGE_SAMPLE = 4096
"""Patches on which the coverage of a bank is measured; all of them would cost more than the search for it."""

PROBES = 3
"""Images on which the loss by float16 is measured before the others are kept in it."""

FLOAT16_TOLERANCE = 1e-3
"""Relative change of an image score up to which embeddings are kept in float16."""

WORTH_KEEPING = 0.5
"""Of the values of a coreset as it was searched for: so many may the numbers of the patches' nearest rows be, which
calibration is faster with."""


class _Selection(NamedTuple):
    """What is kept of all patches, the number of each image's first (and of the end), and the patches' weights."""

    coreset: Coreset
    starts: np.ndarray
    weights: np.ndarray | None


def build_bank(stream: EmbeddingStream, images: Sequence[ImageSource], recipe: BankRecipe) -> DetectorState:
    """Embed ``images`` and keep the rows the recipe selects, sorted by image.

    The embeddings pass through the stream once, to be selected from. Up to ``KEPT_BYTES`` of them are kept to be
    collected from; those of further images are read again from its cache.

    Returns:
        arrays ``bank`` (m, d) float32, ``rows`` (m,) int64 (each row's number among all patches),
        ``row_starts`` (images + 1,) int64 (where in the bank an image's rows begin), where patches are weighed
        ``weights`` (m,) float32, of a greedy coreset ``turns`` (m,) int32 (when each row was chosen) and, where it is
        small beside the bank, ``nearest`` (n, k) int32 (the rows that each patch was nearest to, -1 where it could not
        be chosen), and where the bank is searched approximately ``cells`` (c, d) float32;
        facts: the images in that order, the precision, counts, coverage.
    """
    images = in_groups(images)
    with stream.caching():
        precision, change = _choose_precision(stream, images, recipe)
        compute_change = _compute_change(stream, images, recipe, precision)
        kept = KeptRows("float32" if recipe.normalised else precision, KEPT_BYTES)
        coreset, patch_starts, weights = _select(stream, images, recipe, precision, kept)
        chosen = coreset.rows
        bank, sample, sampled = _collect(stream, images, recipe, precision, chosen, patch_starts, kept)
    del kept
    row_starts = np.searchsorted(chosen, patch_starts)
    arrays = {"bank": bank, "rows": chosen, "row_starts": row_starts}
    further: dict[str, Any] = {} if compute_change is None else {"compute_score_change": compute_change}
    if coreset.turns is not None:
        arrays["turns"] = coreset.turns
    searched = min(recipe.coreset.projection_dim, bank.shape[1])
    if coreset.nearest is not None and _worth_keeping(coreset.nearest.size, len(bank), searched):
        arrays["nearest"] = coreset.nearest
    if weights is not None:
        arrays["weights"] = weights[chosen]
        further["patches_left_out"] = int(patch_starts[-1]) - len(eligible_patches(weights, recipe.left_out))
    if recipe.index is not None:
        own = np.searchsorted(patch_starts, sampled, side="right") - 1
        cells, further["index"] = choose_index(
            bank, row_starts, sample, own, recipe.index.min_rows, recipe.seed
        )
        arrays |= {} if cells is None else {"cells": cells}
    return DetectorState(
        arrays=arrays,
        facts={
            "images": fitted_images(images),
            "views": [view.name for view in recipe.views],
            "normalised": recipe.normalised,
            "patches": int(patch_starts[-1]),
            "bank_rows": len(bank),
            "dimension": int(bank.shape[1]),
            "coreset": recipe.coreset.model_dump(),
            "coverage": {**coverage(sample, bank, device=stream.device), "patches": len(sampled)},
            "seed": recipe.seed,
            "precision": precision,
            "float16_score_change": change,
            **further,
        },
    )


def _select(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    kept: KeptRows,
) -> _Selection:
    """The rows of a bank, of all images' projected; those that ``kept`` has room for are left in it."""
    patches = gather(stream, images, recipe, precision, kept)
    starts, points = patches.starts, patches.points if by_distance(recipe.coreset) else None
    n = int(starts[-1])
    if recipe.weigh is None:
        coreset = _thinned(n, points, recipe, stream.device)
        if coreset.nearest is not None:  # it was searched for in whole numbers, which the points are now
            leave_patches(stream, images, recipe, precision, patches._replace(whole=True), coreset)
        return _Selection(coreset, starts, None)
    weights = patches.weights(recipe.weigh)
    eligible = eligible_patches(weights, recipe.left_out)
    if points is not None:
        points = points[eligible]
    del patches
    thinned = _thinned(n, points, recipe, stream.device, len(eligible))
    return _Selection(_among_all(thinned, eligible, n), starts, weights)


def _worth_keeping(numbers: int, rows: int, dimension: int) -> bool:
    """Whether so many numbers of nearest rows are few beside the values of the rows, as they were searched."""
    return numbers <= WORTH_KEEPING * rows * dimension


def _among_all(thinned: Coreset, eligible: np.ndarray, n: int) -> Coreset:
    """A coreset of the ``eligible`` of ``n`` patches."""
    nearest = thinned.nearest
    if nearest is not None:
        nearest = np.full((n, nearest.shape[1]), NONE, np.int32)
        nearest[eligible] = thinned.nearest
    return Coreset(eligible[thinned.rows], thinned.turns, nearest)


def _thinned(
    n: int, points: np.ndarray | None, recipe: BankRecipe, device: str, eligible: int | None = None
) -> Coreset:
    """Which of the ``eligible`` rows are kept; how many follows from ``n``, the number of all.

    Args:
        n: all patches.
        points: the eligible ones, projected, where the coreset's method goes by distances; overwritten.
        recipe: the coreset, its seed and the most rows there may be.
        device: where distances are taken.
        eligible: how many are; None: all.
    """
    eligible = n if eligible is None else eligible
    coreset = recipe.coreset
    m = min(n if coreset.method == "none" else coreset_size(n, coreset.ratio), eligible)
    if recipe.max_rows is not None:
        m = min(m, recipe.max_rows)
    if coreset.method == "batched_greedy" and points is not None:
        search = (points, m, recipe.seed, coreset.starting_points)
        worth = _worth_keeping(n * KNOWN, m, points.shape[1])
        if recipe.weigh is not None and not worth:  # of weighed patches nothing is handed on
            order, nearest = greedy_order(*search, device=device), None
        else:
            # three are of use where they are stored, or where a calibration refills for every image
            known = KNOWN if worth or n * m * points.shape[1] <= LONG_SEARCH else 1
            order, nearest = greedy_coreset(*search, known=known, device=device)
        turns = np.argsort(order)
        return Coreset(order[turns], turns.astype(np.int32), nearest)
    if coreset.method == "density" and points is not None:
        return Coreset(density_rows(points, m, recipe.seed, device=device))
    return Coreset(np.arange(m) if m == eligible else random_rows(eligible, m, recipe.seed))


def _collect(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    chosen: np.ndarray,
    starts: np.ndarray,
    kept: KeptRows,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chosen rows; a seeded sample of all rows, to measure the bank with, and their numbers."""
    sampled = random_rows(int(starts[-1]), min(COVERAGE_SAMPLE, int(starts[-1])), recipe.seed)
    if kept.images == len(images) and len(chosen) == starts[-1]:  # all of them, as they lie there
        bank = kept.rows.astype(np.float32, copy=False)
        return bank, bank[sampled], sampled
    wanted, dimension = (chosen, sampled), kept.rows.shape[1]
    bank, sample = collect_rows(stream, images, recipe, precision, starts, kept, wanted, dimension)
    return bank, sample, sampled


def declared_precision(stream: EmbeddingStream) -> Precision | None:
    """What the embedder's recipe says its embeddings may be kept in; None where it says nothing.

    It matters beyond speed: it is the same for every detector that shares the embeddings, so that none of them
    embeds an image again for another precision.
    """
    return stream.recipe()["embedder"].get("precision")


def _choose_precision(
    stream: EmbeddingStream, images: Sequence[ImageSource], recipe: BankRecipe
) -> tuple[Precision, float | None]:
    """What is asked for or declared; else float16, unless it changes the scores of a few probes too much.

    Returns:
        the precision, and the relative change of the probes' scores by float16 where it was measured.
    """
    declared = recipe.precision or declared_precision(stream)
    if declared is not None:
        return declared, None
    plain = replace(recipe, angles=(0.0,), normalised=False, augment=None)
    views = views_of(stream, _probes(images), plain, "float16", keep_exact=True)
    rows = [image.rows for image in views]
    moved = [_rounded_otherwise(probe, recipe.seed) for probe in rows]
    change = _score_change(rows, moved, recipe, stream.device)
    return ("float16" if change <= FLOAT16_TOLERANCE else "float32"), change


def _compute_change(
    stream: EmbeddingStream, images: Sequence[ImageSource], recipe: BankRecipe, precision: Precision
) -> float | None:
    """The relative change of a few probes' scores by what the embedder computes in; None where that is float32."""
    exact = stream.computed_exactly(_probes(images))
    if exact is None:
        return None
    plain = replace(recipe, angles=(0.0,), normalised=False, augment=None)
    rows = [image.rows for image in views_of(stream, _probes(images), plain, precision)]
    before = [image.embedding.inspected_rows[:, recipe.columns or slice(None)] for image in exact]
    return _score_change(before, rows, recipe, stream.device)


def _probes(images: Sequence[ImageSource]) -> list[ImageSource]:
    """The few images on which it is measured what an approximation does to scores."""
    return [images[i] for i in np.unique(np.linspace(0, len(images) - 1, PROBES).astype(int))]


def _score_change(
    before: list[np.ndarray], after: list[np.ndarray], recipe: BankRecipe, device: str
) -> float:
    """The largest relative change of the probes' scores."""
    exact, moved = _probe_scores(before, recipe, device), _probe_scores(after, recipe, device)
    with np.errstate(all="ignore"):
        return float(np.nan_to_num(np.abs(moved - exact) / exact, nan=0.0).max())


def _rounded_otherwise(rows: np.ndarray, seed: int) -> np.ndarray:
    """Rows moved within float16's rounding: as much as rounding moved them, without asking for them unrounded.

    The unrounded ones would have to be embedded again where the cache holds float16.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.abs(rows).astype(np.float16)).astype(np.float32)
    moved = step * np.random.default_rng(seed).uniform(-0.5, 0.5, rows.shape).astype(np.float32)
    return rows + np.where(np.isfinite(step), moved, np.float32(0))  # beyond float16 rows are kept in float32


def _probe_scores(probes: list[np.ndarray], recipe: BankRecipe, device: str) -> np.ndarray:
    """An image score per probe, against the others; of a single one its odd patches against its even ones."""
    rows = [unit_rows(probe, device) if recipe.normalised else probe for probe in probes]
    if len(rows) == 1:
        rows = [rows[0][1::2], rows[0][::2]] if len(rows[0]) > 1 else rows * 2
    others = [np.concatenate(rows[:i] + rows[i + 1 :]) for i in range(len(rows))]
    searches = [NearestNeighbors(bank, device=device) for bank in others]
    return np.array([search.search(asked)[0].max() for search, asked in zip(searches, rows, strict=True)])
