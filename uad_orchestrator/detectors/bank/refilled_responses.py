"""Responses by a bank and by the same bank refilled without an image: the bank is searched once for both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from uad_orchestrator.detectors.bank.bank import (
    Bank,
    Neighbours,
    PatchScores,
    opened_bank,
    unit_rows,
)
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.memory.nearest import NearestNeighbors


def responses_of_both(
    stream: EmbeddingStream,
    state: DetectorState,
    without: DetectorState,
    images: Sequence[ImageSource],
    patch_scores: PatchScores,
    n_neighbors: int,
) -> Iterator[tuple[Response, Response]]:
    """Respond to the images of a group by both banks, searched on the CPU.

    Args:
        stream: embeds them.
        state: with a bank.
        without: the same refilled without the group.
        images: of the group.
        patch_scores: from an image's neighbours to its scores.
        n_neighbors: how many of each patch.

    Returns:
        The responses by ``without``, and by ``state`` without the group's rows, as ``bank_responses`` gives them.
    """
    bank, refilled = opened_bank(stream, state), opened_bank(stream, without)
    rows = _Refilled(state, without, refilled)
    for whole in stream.stream(images, precision=bank.precision):
        started = time.perf_counter()
        image = whole._replace(embedding=whole.embedding.narrowed())
        asked = image.embedding.patch_embeddings
        asked = unit_rows(asked) if state.facts["normalised"] else asked
        own = bank.rows_of(whole.source)
        left = Neighbours(*bank.nearest.search(asked, n_neighbors, own), own)
        others = Neighbours(*rows.nearest(asked, left.rows), None)
        answers = [patch_scores(refilled, image, others), patch_scores(bank, image, left)]
        seconds = (time.perf_counter() - started) / 2
        by_refilled, by_bank = (Response.of(whole, score, patches, seconds) for score, patches in answers)
        yield by_refilled, by_bank


class _Refilled:
    """The search in a refilled bank, where that in the bank it comes from is done already.

    Where the nearest rows of the bank are still there, nearer ones can only be among those that are new: they alone are
    searched. A patch of which a nearest row went is compared with all of them.
    """

    def __init__(self, state: DetectorState, without: DetectorState, refilled: Bank) -> None:
        before, now = state.arrays["rows"], without.arrays["rows"]
        place = np.searchsorted(now, before)
        stays = now[np.minimum(place, len(now) - 1)] == before
        self._place = np.where(stays, place, -1)
        self._new = np.flatnonzero(~np.isin(now, before))
        self._nearest = refilled.nearest
        self._of_new = NearestNeighbors(refilled.nearest.bank[self._new]) if len(self._new) else None

    def nearest(self, asked: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``NearestNeighbors.search``.

        Args:
            asked: ``(m, d)`` float32 patches.
            before: ``(m, k)`` the numbers of their nearest rows in the bank, without the rows of the group.
        """
        k, near = before.shape[1], self._place[before]
        if self._of_new is not None:
            _, new = self._of_new.search(asked, min(k, len(self._new)))
            near = np.concatenate([near, self._new[new]], axis=1)
        squared, index = self._nearest.nearest_of(asked, near, k)
        gone = np.flatnonzero((near < 0).any(axis=1))
        if len(gone):
            squared[gone], index[gone] = self._nearest.search(asked[gone], k)
        return squared, index
