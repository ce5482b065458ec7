"""What detectors with one memory bank share: how they are calibrated on the images it was built of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from uad_orchestrator.detectors.bank.bank import Bank, Neighbours, bank_responses, rows_left
from uad_orchestrator.detectors.bank.refilled_responses import responses_of_both
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.bank.rows.refilled import groups_to_refill, refilled_banks
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.images.source import ImageSource


class BankDetector(Detector):
    """A detector whose state is one memory bank, built by a recipe."""

    @property
    @abstractmethod
    def recipe(self) -> BankRecipe:
        """How the bank is built of the images."""

    @property
    @abstractmethod
    def n_neighbors(self) -> int:
        """How many bank rows a patch is compared with."""

    @abstractmethod
    def _score(self, bank: Bank, embedded: EmbeddedImage, found: Neighbours) -> tuple[float, np.ndarray]:
        """The image score and the patch scores ``(n,)`` of an image, from its patches' neighbours."""

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Scores from the ``n_neighbors`` nearest bank rows of each patch."""
        return bank_responses(self.stream, state, images, self._score, self.n_neighbors, leave_out)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether ``n_neighbors`` bank rows of other groups are left."""
        return rows_left(self.stream, state, self.n_neighbors)

    def respond_both(
        self, state: DetectorState, without: DetectorState, images: Sequence[ImageSource]
    ) -> Iterator[tuple[Response, Response]]:
        """Each image is embedded and compared with the bank once; then with the rows that are new without it."""
        answers_otherwise = type(self).respond is not BankDetector.respond  # as a plug-in's detector may
        if self.stream.device != "cpu" or answers_otherwise:
            return super().respond_both(state, without, images)
        return responses_of_both(self.stream, state, without, images, self._score, self.n_neighbors)

    def groups_to_refill(self, state: DetectorState) -> int:
        """All or some groups where the bank is a coreset chosen by distances."""
        return groups_to_refill(state, self.recipe)

    def states_without(
        self, state: DetectorState, fitted: Sequence[ImageSource], groups: Sequence[str]
    ) -> Iterator[DetectorState]:
        """The bank without each group's rows, refilled by the patches of the others."""
        return refilled_banks(self.stream, state, fitted, self.recipe, groups)
