"""What detectors with one memory bank share: how they are calibrated on the images it was built of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.bank.rows.refilled import groups_to_refill, refilled_banks
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource


class BankDetector(Detector):
    """A detector whose state is one memory bank, built by a recipe."""

    @property
    @abstractmethod
    def recipe(self) -> BankRecipe:
        """How the bank is built of the images."""

    def groups_to_refill(self, state: DetectorState) -> int:
        """All or some groups where the bank is a coreset chosen by distances."""
        return groups_to_refill(state, self.recipe)

    def states_without(
        self, state: DetectorState, fitted: Sequence[ImageSource], groups: Sequence[str]
    ) -> Iterator[DetectorState]:
        """The bank without each group's rows, refilled by the patches of the others."""
        return refilled_banks(self.stream, state, fitted, self.recipe, groups)
