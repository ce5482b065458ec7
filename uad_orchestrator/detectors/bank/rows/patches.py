"""The patches a memory bank is made of: embedded in all their views, projected, collected by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.bank.bank import unit_rows
from uad_orchestrator.detectors.bank.rows.kept_rows import KeptRows, RowBuffer
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream, Precision
from uad_orchestrator.detectors.embedding.views import View
from uad_orchestrator.detectors.protocol.settings import CoresetSettings, IndexSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.memory.coreset import project, random_projection, sent_once
from uad_orchestrator.preprocessing.augmentation import Augmentation, AugmentSettings

KEPT_BYTES = 768 << 20
"""Embeddings kept between the two uses of them; a fit of 1,000 images stays below 3 GB with it."""


class ImageRows(NamedTuple):
    """The patches of one fitted image (or tile), of all its views together.

    Attributes:
        source: the image.
        grid_shape: ``(gh, gw)`` of one view.
        rows: ``(views * gh * gw, d)`` float32, or float16 where they were rounded to it and are not widened; fewer
            behind a region of interest.
        inspected: ``(views, gh * gw)`` bool, the patches whose rows these are.
    """

    source: ImageSource
    grid_shape: tuple[int, int]
    rows: np.ndarray
    inspected: np.ndarray


WeighPatches = Callable[[list[ImageRows]], np.ndarray]
"""From the projected patches of all images to the ``(n,)`` outlier weight of each."""

WeighWithout = Callable[[list[ImageRows], Sequence[slice]], Iterator[np.ndarray]]
"""Likewise as it would be without some of the images, for each of several spans of them; those of the images that are
gone are infinite."""


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
        weigh_without: gives them as they would be without some images.
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
    weigh_without: WeighWithout | None = None
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


class Patches(NamedTuple):
    """All patches of all images, as far as rows are selected by them.

    Attributes:
        points: ``(n, p)`` float32, projected; None where nothing goes by distances.
        starts: ``(images + 1,)`` where each image's begin, and the end.
        images: each with its grid, without its rows; none where patches are not weighed.
        whole: the points are the whole numbers that a greedy coreset was searched in.
    """

    points: np.ndarray | None
    starts: np.ndarray
    images: list[ImageRows]
    whole: bool = False

    def weights(self, weigh: WeighPatches) -> np.ndarray:
        """``(n,)`` float32 outlier weights."""
        return weigh(self.weighed())

    def weighed(self) -> list[ImageRows]:
        """The images with their projected patches."""
        assert self.points is not None  # projected for this
        parts = np.split(self.points, self.starts[1:-1])
        return [image._replace(rows=part) for image, part in zip(self.images, parts, strict=True)]


class Coreset(NamedTuple):
    """Rows of a coreset among all patches.

    Attributes:
        rows: ``(m,)`` their numbers, ascending.
        turns: ``(m,)`` int32, when each was chosen; None where that was not one after the other, or is not known.
        nearest: ``(n, k)`` int32 of ``greedy_coreset``; None where it is not known.
    """

    rows: np.ndarray
    turns: np.ndarray | None = None
    nearest: np.ndarray | None = None


def in_groups(images: Sequence[ImageSource]) -> list[ImageSource]:
    """Each content once, images of a group side by side, groups in the order in which they first appear."""
    distinct = list({image.digest: image for image in reversed(images)}.values())[::-1]
    first: dict[str, int] = {}
    for image in distinct:
        first.setdefault(image.group, len(first))
    return sorted(distinct, key=lambda image: first[image.group])


def views_of(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    keep_exact: bool = False,
    widened: bool = True,
) -> Iterator[ImageRows]:
    """The rows of each image's inspected patches, all views together.

    Args:
        stream: embeds the images.
        images: whose patches.
        recipe: which views, which columns, and whether rows are brought to length 1.
        precision: what embeddings are rounded to.
        keep_exact: whether they are cached in float32.
        widened: rows come in float32; else, as on a GPU, in float16 where they were rounded to it.
    """
    dimension = None
    # a GPU is sent half as much, and widens it there
    widened = widened and not stream.device.startswith("cuda")
    streamed = stream.stream_views(
        images, recipe.views, precision=precision, keep_exact=keep_exact, widened=widened
    )
    for embedded in streamed:
        rows = [view.embedding.inspected_rows for view in embedded]
        if recipe.columns is not None:
            rows = [view[:, recipe.columns] for view in rows]
        dimension = dimension or rows[0].shape[1]
        if any(view.shape[1] != dimension for view in rows):
            raise ValueError(
                f"{embedded[0].source.name}: its patch embeddings are not of dimension {dimension}, "
                "as those of the images before it are"
            )
        joined = rows[0] if len(rows) == 1 else np.concatenate(rows)
        joined = unit_rows(joined, stream.device) if recipe.normalised else joined
        inspected = np.stack([view.embedding.inspected_patches for view in embedded])
        yield ImageRows(embedded[0].source, embedded[0].embedding.grid_shape, joined, inspected)


def gather(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    kept: KeptRows,
) -> Patches:
    """The patches of all images, projected where distances matter; as they are in ``kept``, while it has room."""
    counts: list[int] = [0]
    projected = RowBuffer(np.float32)
    projection: Any = None
    weighed: list[ImageRows] = []
    compared = by_distance(recipe.coreset) or recipe.weigh is not None
    for image in views_of(stream, images, recipe, precision, widened=False):
        expected = len(images) - len(counts) + 1
        kept.add(image.rows, expected)
        if compared:
            if len(counts) == 1:
                drawn = random_projection(image.rows.shape[1], recipe.coreset.projection_dim, recipe.seed)
                projection = sent_once(drawn, stream.device)
            projected.append(project(image.rows, projection, device=stream.device), expected)
        if recipe.weigh is not None:
            weighed.append(image._replace(rows=np.empty((0, 0), np.float32)))
        counts.append(len(image.rows))
    return Patches(projected.rows if compared else None, np.cumsum(counts), weighed)


def by_distance(coreset: CoresetSettings) -> bool:
    """Whether a coreset's rows are chosen by their distances from each other."""
    return coreset.method in ("batched_greedy", "density")


def eligible_patches(weights: np.ndarray, left_out: float) -> np.ndarray:
    """The numbers of the patches that may come into the bank: those up to the global quantile, ascending."""
    return np.flatnonzero(weights <= np.quantile(weights, 1 - left_out))


def collect_rows(
    stream: EmbeddingStream,
    images: Sequence[ImageSource],
    recipe: BankRecipe,
    precision: Precision,
    starts: np.ndarray,
    kept: KeptRows,
    wanted: Sequence[np.ndarray],
    dimension: int,
) -> list[np.ndarray]:
    """For each of ``wanted``, numbers of patches (ascending), their rows: ``(m, dimension)`` float32."""
    found = [np.empty((len(numbers), dimension), np.float32) for numbers in wanted]
    for numbers, rows in zip(wanted, found, strict=True) if kept.images else ():
        end = np.searchsorted(numbers, len(kept.rows))
        rows[:end] = kept.rows[numbers[:end]]
    has_some = np.logical_or.reduce([np.diff(np.searchsorted(numbers, starts)) > 0 for numbers in wanted])
    further = [image for image in range(kept.images, len(images)) if has_some[image]]
    views = views_of(stream, [images[image] for image in further], recipe, precision, widened=False)
    for image, read in zip(further, views, strict=True):
        for numbers, rows in zip(wanted, found, strict=True):
            begin, end = np.searchsorted(numbers, starts[image : image + 2])
            rows[begin:end] = read.rows[numbers[begin:end] - starts[image]]
    return found
