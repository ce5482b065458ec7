"""The memory bank of a detector, searched for images; ``building`` builds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, EmbeddingStream, Precision
from uad_orchestrator.detectors.protocol.settings import ReferenceSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, groups_by_digest
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import whole_of
from uad_orchestrator.memory.approximate import ApproximateNeighbors
from uad_orchestrator.memory.device import to_tensor
from uad_orchestrator.memory.nearest import NearestNeighbors


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


PatchScores = Callable[[Bank, EmbeddedImage, slice | None], tuple[float, np.ndarray]]
"""From bank, embedded image and the rows left out to the image score and the patch scores, one per row: the rows
are those of the inspected patches, ``(gh * gw,)`` of them without a region of interest."""


def bank_responses(
    stream: EmbeddingStream,
    state: DetectorState,
    images: Iterable[ImageSource],
    patch_scores: PatchScores,
    leave_out: bool,
) -> Iterator[Response]:
    """Respond to images in order; with ``leave_out`` each against the bank without its own group."""
    bank = opened_bank(stream, state)
    for embedded in stream.stream(images, precision=bank.precision):
        started = time.perf_counter()
        own = bank.rows_of(embedded.source) if leave_out else None
        narrowed = embedded._replace(embedding=embedded.embedding.narrowed())
        score, patches = patch_scores(bank, narrowed, own)
        yield Response.of(embedded, score, patches, time.perf_counter() - started)


def unit_rows(rows: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Rows brought to length 1 (an all-zero row stays), float32.

    Args:
        rows: ``(n, d)``.
        device: where it is done; the lengths are taken in float64 on each.
    """
    if device.startswith("cuda"):  # CUDA only: other devices have no float64
        there = to_tensor(rows, device).double()
        lengths = there.square().sum(dim=1, keepdim=True).sqrt_()
        return there.div_(lengths.masked_fill_(lengths == 0, 1.0)).float().cpu().numpy()
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))[:, None]
    return (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
