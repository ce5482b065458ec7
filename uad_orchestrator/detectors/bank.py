"""The memory bank of a detector: built from images, kept as a state, searched for images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.embedding_stream import EmbeddedImage, EmbeddingStream, Precision
from uad_orchestrator.detectors.settings import CoresetSettings, IndexSettings, ReferenceSettings
from uad_orchestrator.detectors.stages import DetectorState, Response, fitted_images, groups_by_digest
from uad_orchestrator.detectors.views import View
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import whole_of
from uad_orchestrator.memory.approximate import ApproximateNeighbors, choose_index
from uad_orchestrator.memory.coreset import (
    coreset_size,
    coverage,
    density_rows,
    greedy_order,
    project,
    random_projection,
    random_rows,
)
from uad_orchestrator.memory.nearest import NearestNeighbors
from uad_orchestrator.preprocessing.augmentation import Augmentation, AugmentSettings

COVERAGE_SAMPLE = 4096
"""Patches on which the coverage of a bank is measured; all of them would cost more than the search for it."""

PROBES = 3
"""Images on which the loss by float16 is measured before the others are kept in it."""

FLOAT16_TOLERANCE = 1e-3
"""Relative change of an image score up to which embeddings are kept in float16."""


class ImageRows(NamedTuple):
    """The patches of one fitted image (or tile), of all its views together.

    Attributes:
        source: the image.
        grid_shape: ``(gh, gw)`` of one view.
        rows: ``(views * gh * gw, d)`` float32; fewer behind a region of interest.
    """

    source: ImageSource
    grid_shape: tuple[int, int]
    rows: np.ndarray


WeighPatches = Callable[[list[ImageRows]], np.ndarray]
"""From the projected patches of all images to the ``(n,)`` outlier weight of each."""


@dataclass(frozen=True)
class BankRecipe:
    """How a bank is built from patch embeddings.

    Attributes:
        coreset: which rows are kept.
        seed: of the coreset.
        angles: rotated views of every image, in degrees; 0 is the image itself.
        normalised: rows are brought to length 1, for cosine distances.
        columns: the part of each embedding that is kept, e.g. one layer of several; None: all of it.
        max_rows: at most so many rows are kept, whatever the coreset's ratio.
        weigh: gives each patch an outlier weight, kept with its row; None: there are none.
        left_out: the share of the patches, those of the largest weights, that never comes into the bank.
        index: how the bank is searched; None: exactly.
        precision: what embeddings are kept in; None: chosen.
        augment: further views of every image, as another day's camera takes it; None: none.
    """

    coreset: CoresetSettings
    seed: int
    angles: tuple[float, ...] = (0.0,)
    normalised: bool = False
    columns: slice | None = None
    max_rows: int | None = None
    weigh: WeighPatches | None = None
    left_out: float = 0.0
    index: IndexSettings | None = None
    precision: Precision | None = None
    augment: AugmentSettings | None = None

    @property
    def views(self) -> list[View]:
        """All views of an image whose rows are selected from."""
        views = [View(angle) for angle in self.angles]
        if self.augment is not None:
            views += [View(augmentation=Augmentation(self.augment, i)) for i in range(self.augment.copies)]
        return views


class _Selection(NamedTuple):
    """The numbers of the rows to keep, of each image's first row (and of the end), and the rows' weights."""

    chosen: np.ndarray
    starts: np.ndarray
    weights: np.ndarray | None


def select_references(
    images: Sequence[ImageSource], references: ReferenceSettings | None
) -> list[ImageSource]:
    """All images, or the few-shot references: those sorted by name, ``[seed * k : (seed + 1) * k]``.

    Whole images are counted and chosen, each with all its tiles.

    Raises:
        ValueError: no images, or the slice reaches beyond them.
    """
    if not images:
        raise ValueError("there are no images to fit on: at least one normal image is needed")
    if references is None:
        return list(images)
    parts: dict[ImageSource, list[ImageSource]] = {}
    for image in images:
        parts.setdefault(whole_of(image), []).append(image)
    ordered = sorted(parts, key=lambda image: image.name)
    start, stop = references.seed * references.k, (references.seed + 1) * references.k
    if stop > len(ordered):
        raise ValueError(
            f"references: seed {references.seed} with k {references.k} takes images {start} to {stop - 1}, "
            f"but there are {len(ordered)}: lower k or seed"
        )
    return [part for image in ordered[start:stop] for part in parts[image]]


def build_bank(stream: EmbeddingStream, images: Sequence[ImageSource], recipe: BankRecipe) -> DetectorState:
    """Embed ``images`` and keep the rows the recipe selects, sorted by image.

    The embeddings pass twice through the stream's cache, first to be selected from, then to be collected, and
    are never held all at once.

    Returns:
        arrays ``bank`` (m, d) float32, ``rows`` (m,) int64 (each row's number among all patches),
        ``row_starts`` (images + 1,) int64 (where in the bank an image's rows begin), where patches are weighed
        ``weights`` (m,) float32, and where the bank is searched approximately ``cells`` (c, d) float32;
        facts: the images in that order, the precision, counts, coverage.
    """
    images = _in_groups(images)
    with stream.caching():
        precision, change = _choose_precision(stream, images, recipe)
        chosen, patch_starts, weights = _select(stream, images, recipe, precision)
        bank, sample, sampled = _collect(stream, images, recipe, precision, chosen, patch_starts)
    row_starts = np.searchsorted(chosen, patch_starts)
    arrays = {"bank": bank, "rows": chosen, "row_starts": row_starts}
    further: dict[str, Any] = {}
    if weights is not None:
        arrays["weights"] = weights[chosen]
        further["patches_left_out"] = int(patch_starts[-1]) - len(_eligible(weights, recipe.left_out))
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
            "coverage": {**coverage(sample, bank), "patches": len(sampled)},
            "seed": recipe.seed,
            "precision": precision,
            "float16_score_change": change,
            **further,
        },
    )


class Bank:
    """A state's bank, ready to be searched, and which of its rows are whose.

    Attributes:
        nearest: search over the rows, exact unless the state says otherwise.
        weights: ``(m,)`` each row's outlier weight; None where they were not weighed.
        precision: what the embeddings are rounded to before they are compared.
    """

    def __init__(self, state: DetectorState) -> None:
        self._rows, self._cells = state.arrays["bank"], state.arrays.get("cells")
        self.weights = state.arrays.get("weights")
        self.precision: Precision = state.facts["precision"]
        self._starts = state.arrays["row_starts"]
        groups = [image["group"] for image in state.facts["images"]]
        self._group_of_digest = {image["digest"]: image["group"] for image in state.facts["images"]}
        self._group_of_digest |= groups_by_digest(state)  # a whole image is known by its tiles, too
        self._span = {group: (groups.index(group), i + 1) for i, group in enumerate(groups)}

    @cached_property
    def nearest(self) -> NearestNeighbors:
        """The search, made when it is first asked for."""
        if self._cells is None:
            return NearestNeighbors(self._rows)
        return ApproximateNeighbors(self._rows, self._cells)

    def rows_of(self, image: ImageSource) -> slice:
        """The rows of the image's group, in all views; an empty slice if the bank holds none.

        An image is recognised by its content too, so that a second copy of a file is not its own neighbour.
        """
        first, last = self._span.get(self._group_of_digest.get(image.digest, image.group), (0, 0))
        return slice(int(self._starts[first]), int(self._starts[last]))

    def rows_without(self, image: ImageSource) -> int:
        """How many rows are left to search when those of the image's group are left out."""
        own = self.rows_of(image)
        return len(self._rows) - (own.stop - own.start)


def rows_left(state: DetectorState, n_neighbors: int) -> Callable[[ImageSource], bool]:
    """Whether ``n_neighbors`` bank rows of other groups are left when an image is scored without its own."""
    bank = Bank(state)
    return lambda image: bank.rows_without(image) >= n_neighbors


PatchScores = Callable[[Bank, PatchEmbedding, slice | None], tuple[float, np.ndarray]]
"""From bank, embedding and the rows left out to the image score and the patch scores, one per row: the rows are
those of the inspected patches, ``(gh * gw,)`` of them without a region of interest."""


def bank_responses(
    stream: EmbeddingStream,
    state: DetectorState,
    images: Iterable[ImageSource],
    patch_scores: PatchScores,
    leave_out: bool,
) -> Iterator[Response]:
    """Respond to images in order; with ``leave_out`` each against the bank without its own group."""
    bank = Bank(state)
    for embedded in stream.stream(images, precision=bank.precision):
        started = time.perf_counter()
        own = bank.rows_of(embedded.source) if leave_out else None
        score, patches = patch_scores(bank, embedded.embedding.narrowed(), own)
        grid = embedded.embedding.spread(patches)
        yield response_to(embedded, score, grid, time.perf_counter() - started)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows brought to length 1 (an all-zero row stays), float32."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))[:, None]
    return (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def response_to(embedded: EmbeddedImage, score: float, patches: np.ndarray, seconds: float) -> Response:
    """The response to an image: its score and ``(gh * gw,)`` patch scores, ``seconds`` beyond its embedding."""
    embedding = embedded.embedding
    assert embedding.region is not None and embedding.input_size is not None  # the stream completes them
    return Response(
        name=embedded.source.name,
        score=score,
        patch_grid=patches.astype(np.float32).reshape(embedding.grid_shape),
        region=embedding.region,
        original_size=embedding.original_size,
        input_size=embedding.input_size,
        seconds=embedded.seconds + seconds,
    )


def _in_groups(images: Sequence[ImageSource]) -> list[ImageSource]:
    """Each content once, images of a group side by side, groups in the order in which they first appear."""
    distinct = list({image.digest: image for image in reversed(images)}.values())[::-1]
    first: dict[str, int] = {}
    for image in distinct:
        first.setdefault(image.group, len(first))
    return sorted(distinct, key=lambda image: first[image.group])


def _views(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    keep_exact: bool = False,
) -> Iterator[ImageRows]:
    """The rows of each image's inspected patches, all views together."""
    views = [
        stream.stream(images, view=view, precision=precision, keep_exact=keep_exact) for view in recipe.views
    ]
    dimension = None
    for embedded in zip(*views, strict=True):
        rows = [view.embedding.inspected_rows for view in embedded]
        if recipe.columns is not None:
            rows = [view[:, recipe.columns] for view in rows]
        dimension = dimension or rows[0].shape[1]
        if any(view.shape[1] != dimension for view in rows):
            raise ValueError(
                f"{embedded[0].source.name}: its patch embeddings are not of dimension {dimension}, "
                "as those of the images before it are"
            )
        joined = unit_rows(np.concatenate(rows)) if recipe.normalised else np.concatenate(rows)
        yield ImageRows(embedded[0].source, embedded[0].embedding.grid_shape, joined)


def _select(
    stream: EmbeddingStream, images: Sequence[ImageSource], recipe: BankRecipe, precision: Precision
) -> _Selection:
    by_distance = recipe.coreset.method in ("batched_greedy", "density")
    counts: list[int] = [0]
    projected: list[ImageRows] = []
    projection: np.ndarray | None = None
    for image in _views(stream, images, recipe, precision):
        counts.append(len(image.rows))
        if by_distance or recipe.weigh is not None:
            if not projected:
                projection = random_projection(
                    image.rows.shape[1], recipe.coreset.projection_dim, recipe.seed
                )
            projected.append(image._replace(rows=project(image.rows, projection)))
    starts = np.cumsum(counts)
    n = int(starts[-1])
    weights = recipe.weigh(projected) if recipe.weigh is not None else None
    points = np.concatenate([image.rows for image in projected]) if by_distance else None
    projected.clear()
    if weights is None:
        return _Selection(_thinned(n, points, recipe), starts, None)
    eligible = _eligible(weights, recipe.left_out)
    kept = None if points is None else points[eligible]
    return _Selection(eligible[_thinned(n, kept, recipe, len(eligible))], starts, weights)


def _eligible(weights: np.ndarray, left_out: float) -> np.ndarray:
    """The numbers of the patches that may come into the bank: those up to the global quantile, ascending."""
    return np.flatnonzero(weights <= np.quantile(weights, 1 - left_out))


def _thinned(
    n: int, points: np.ndarray | None, recipe: BankRecipe, eligible: int | None = None
) -> np.ndarray:
    """Which of the ``eligible`` rows are kept, ascending; how many follows from ``n``, the number of all.

    Args:
        n: all patches.
        points: the eligible ones, projected, where the coreset's method goes by distances; overwritten.
        recipe: the coreset, its seed and the most rows there may be.
        eligible: how many are; None: all.
    """
    eligible = n if eligible is None else eligible
    coreset = recipe.coreset
    m = min(n if coreset.method == "none" else coreset_size(n, coreset.ratio), eligible)
    if recipe.max_rows is not None:
        m = min(m, recipe.max_rows)
    if coreset.method == "batched_greedy" and points is not None:
        return np.sort(greedy_order(points, m, recipe.seed, coreset.starting_points))
    if coreset.method == "density" and points is not None:
        return density_rows(points, m, recipe.seed)
    return np.arange(m) if m == eligible else random_rows(eligible, m, recipe.seed)


def _collect(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    chosen: np.ndarray,
    starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chosen rows; a seeded sample of all rows, to measure the bank with, and their numbers."""
    sampled = random_rows(int(starts[-1]), min(COVERAGE_SAMPLE, int(starts[-1])), recipe.seed)
    bank, sample = [], []
    for number, image in enumerate(_views(stream, images, recipe, precision)):
        bank.append(image.rows[_within(chosen, starts, number)])
        sample.append(image.rows[_within(sampled, starts, number)])
    rows = np.concatenate(bank)
    bank.clear()
    return rows, np.concatenate(sample), sampled


def _within(numbers: np.ndarray, starts: np.ndarray, image: int) -> np.ndarray:
    begin, end = np.searchsorted(numbers, starts[image : image + 2])
    return numbers[begin:end] - starts[image]


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
    chosen = np.unique(np.linspace(0, len(images) - 1, PROBES).astype(int))
    plain = replace(recipe, angles=(0.0,), normalised=False, augment=None)
    views = _views(stream, [images[i] for i in chosen], plain, "float16", keep_exact=True)
    probes = [image.rows for image in views]
    before = _probe_scores(probes, recipe)
    after = _probe_scores([_rounded_otherwise(rows, recipe.seed) for rows in probes], recipe)
    with np.errstate(all="ignore"):
        change = float(np.nan_to_num(np.abs(after - before) / before, nan=0.0).max())
    return ("float16" if change <= FLOAT16_TOLERANCE else "float32"), change


def _rounded_otherwise(rows: np.ndarray, seed: int) -> np.ndarray:
    """Rows moved within float16's rounding: as much as rounding moved them, without asking for them unrounded.

    The unrounded ones would have to be embedded again where the cache holds float16.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.abs(rows).astype(np.float16)).astype(np.float32)
    moved = step * np.random.default_rng(seed).uniform(-0.5, 0.5, rows.shape).astype(np.float32)
    return rows + np.where(np.isfinite(step), moved, np.float32(0))  # beyond float16 rows are kept in float32


def _probe_scores(probes: list[np.ndarray], recipe: BankRecipe) -> np.ndarray:
    """An image score per probe, against the others; of a single one its odd patches against its even ones."""
    rows = [unit_rows(probe) if recipe.normalised else probe for probe in probes]
    if len(rows) == 1:
        rows = [rows[0][1::2], rows[0][::2]] if len(rows[0]) > 1 else rows * 2
    others = [np.concatenate(rows[:i] + rows[i + 1 :]) for i in range(len(rows))]
    return np.array([NearestNeighbors(o).search(r)[0].max() for r, o in zip(rows, others, strict=True)])
