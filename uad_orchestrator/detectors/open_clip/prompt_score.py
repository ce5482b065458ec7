"""Zero-shot: how much more a patch looks like the prompts of defects than like those of normal objects.

The difference of both similarities, not their ratio: similarities may be negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from uad_orchestrator.detectors.bank.bank import select_references
from uad_orchestrator.detectors.open_clip.prompt_score_settings import PromptScoreScoring
from uad_orchestrator.detectors.open_clip.prompt_settings import PromptFit
from uad_orchestrator.detectors.open_clip.prompts import prompt_responses, prompt_state, similarities
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.images.source import ImageSource


class OpenClipPromptScore(Detector):
    """``vision_openclip_promptscore``; its settings: ``prompt_score_settings``."""

    fit_settings: PromptFit
    scoring_settings: PromptScoreScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The prompts' directions. Nothing is learnt from the normals: all of them calibrate."""
        select_references(images, None)
        return prompt_state(self.stream, self.fit_settings)

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Patch scores in [-2, 2]: cosine to the anomalous minus cosine to the normal direction."""
        text, settings = state.arrays["text"], self.scoring_settings
        return prompt_responses(
            self.stream,
            state,
            images,
            lambda embedded, units: similarities(units, text) @ (-1.0, 1.0),
            settings.aggregation,
            settings.topk,
        )
