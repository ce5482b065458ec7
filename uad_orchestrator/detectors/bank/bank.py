"""The memory bank of a detector, searched for images; ``building`` builds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, EmbeddingStream, Precision
from uad_orchestrator.detectors.protocol.settings import ReferenceSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, groups_by_digest
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import whole_of
from uad_orchestrator.memory.approximate import ApproximateNeighbors
from uad_orchestrator.memory.device import to_tensor
from uad_orchestrator.memory.nearest import NearestNeighbors

SEARCHED_TOGETHER = 1 << 14
"""Patches that are sent to a device at once: of 16 images, say."""


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


class Bank:
    """A state's bank, ready to be searched, and which of its rows are whose.

    Made once per state and device, in time linear in its rows and images: ``opened_bank``. Beside the state's own rows
    it holds those that are searched, a second time their memory, on the device where there is one.

    Args:
        state: with a bank.
        device: where it is searched, if exactly; an index is searched on the CPU.

    Attributes:
        nearest: search over the rows, exact unless the state says otherwise.
        weights: ``(m,)`` each row's outlier weight; None where they were not weighed.
        precision: what the embeddings are rounded to before they are compared.
    """

    def __init__(self, state: DetectorState, device: str = "cpu") -> None:
        rows, cells = state.arrays["bank"], state.arrays.get("cells")
        self.nearest = (
            NearestNeighbors(rows, device=device) if cells is None else ApproximateNeighbors(rows, cells)
        )
        self.weights = state.arrays.get("weights")
        self.precision: Precision = state.facts["precision"]
        self._starts = state.arrays["row_starts"]
        images = state.facts["images"]
        self._group_of_digest = {image["digest"]: image["group"] for image in images}
        self._group_of_digest |= groups_by_digest(state)  # a whole image is known by its tiles, too
        self._span: dict[str, tuple[int, int]] = {}
        for i, image in enumerate(images):  # those of a group stand side by side
            first, _ = self._span.get(image["group"], (i, i))
            self._span[image["group"]] = (first, i + 1)

    def rows_of(self, image: ImageSource) -> slice:
        """The rows of the image's group, in all views; an empty slice if the bank holds none.

        An image is recognised by its content too, so that a second copy of a file is not its own neighbour.
        """
        first, last = self._span.get(self._group_of_digest.get(image.digest, image.group), (0, 0))
        return slice(int(self._starts[first]), int(self._starts[last]))

    def rows_without(self, image: ImageSource) -> int:
        """How many rows are left to search when those of the image's group are left out."""
        own = self.rows_of(image)
        return len(self.nearest.bank) - (own.stop - own.start)


def opened_bank(stream: EmbeddingStream, state: DetectorState) -> Bank:
    """The state's bank, to be searched where the stream's embeddings are compared."""
    return state.once(Bank, stream.device)


def rows_left(
    stream: EmbeddingStream, state: DetectorState, n_neighbors: int
) -> Callable[[ImageSource], bool]:
    """Whether ``n_neighbors`` bank rows of other groups are left when an image is scored without its own."""
    bank = opened_bank(stream, state)
    return lambda image: bank.rows_without(image) >= n_neighbors


class Neighbours(NamedTuple):
    """What a bank holds near an image's inspected patches.

    Attributes:
        squared: ``(n, k)`` float32 squared distances, ascending.
        rows: ``(n, k)`` int64 numbers of the bank's rows.
        left_out: bank rows that were passed over, the image's own; None: there are none.
    """

    squared: np.ndarray
    rows: np.ndarray
    left_out: slice | None


PatchScores = Callable[[Bank, EmbeddedImage, Neighbours], tuple[float, np.ndarray]]
"""From bank, embedded image and its neighbours to the image score and the patch scores, one per row: the rows
are those of the inspected patches, ``(gh * gw,)`` of them without a region of interest."""


def bank_responses(
    stream: EmbeddingStream,
    state: DetectorState,
    images: Iterable[ImageSource],
    patch_scores: PatchScores,
    n_neighbors: int,
    leave_out: bool,
) -> Iterator[Response]:
    """Respond to images in order, on a device to several at once.

    Args:
        stream: embeds them.
        state: with a bank; where its rows were brought to length 1, so are the patches.
        images: what to respond to.
        patch_scores: from an image's neighbours to its scores.
        n_neighbors: how many of each patch.
        leave_out: each image is held against the bank without its own group.

    Returns:
        The responses.
    """
    bank = opened_bank(stream, state)
    embedded = stream.stream(images, precision=bank.precision, widened=not stream.device.startswith("cuda"))
    for together in _together(stream, embedded):
        started = time.perf_counter()
        narrowed = [image._replace(embedding=image.embedding.narrowed()) for image in together]
        own = [bank.rows_of(image.source) if leave_out else None for image in together]
        rows = [image.embedding.patch_embeddings for image in narrowed]
        joined = rows[0] if len(rows) == 1 else np.concatenate(rows)
        asked = unit_rows_there(joined, stream.device) if state.facts["normalised"] else joined
        counts = [len(each) for each in rows]
        squared, index = bank.nearest.search_each(asked, list(zip(counts, own, strict=True)), n_neighbors)
        ends = np.cumsum(counts)[:-1]
        found = map(Neighbours, np.split(squared, ends), np.split(index, ends), own)
        shared = (time.perf_counter() - started) / len(together)
        for image, whole, neighbours in zip(narrowed, together, found, strict=True):
            started = time.perf_counter()  # not what is done with a response between two of them
            score, patches = patch_scores(bank, image, neighbours)
            yield Response.of(whole, score, patches, shared + time.perf_counter() - started)


def _together(stream: EmbeddingStream, images: Iterable[EmbeddedImage]) -> Iterator[list[EmbeddedImage]]:
    """Images as many together as are searched at once: on a CPU, and where they come one by one, each alone."""
    most = 1 if stream.device == "cpu" or stream.batch_size == 1 else SEARCHED_TOGETHER
    together: list[EmbeddedImage] = []
    patches = 0
    try:
        for image in images:
            together.append(image)
            patches += len(image.embedding.patch_embeddings)
            if patches >= most:
                yield together
                together, patches = [], 0
    except (ImageError, ValueError):  # of one image: those before it are answered
        if together:
            yield together
        raise
    if together:
        yield together


def unit_rows(rows: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Rows brought to length 1 (an all-zero row stays), float32.

    Args:
        rows: ``(n, d)``.
        device: where it is done; the lengths are taken in float64 on each.
    """
    units = unit_rows_there(rows, device)
    return units if isinstance(units, np.ndarray) else units.cpu().numpy()


def unit_rows_there(rows: np.ndarray, device: str) -> Any:
    """``unit_rows`` that stay on the device where CUDA is one: ``(n, d)`` float32, a tensor there, else an array."""
    if device.startswith("cuda"):  # CUDA only: other devices have no float64
        there = to_tensor(rows, device).double()
        lengths = there.square().sum(dim=1, keepdim=True).sqrt_()
        return there.div_(lengths.masked_fill_(lengths == 0, 1.0)).float()
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))[:, None]
    return (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
