"""A baseline in the spirit of WinCLIP and AnomalyCLIP: prompts against patches, zero-shot or few-shot.

Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation", CVPR 2023: the compositional prompt
ensemble, the softmax at temperature 0.07, harmonic means over windows, the few-shot term. What differs: the tokens of
the default embedder come from v-v attention (CLIP Surgery's and AnomalyCLIP's, not WinCLIP's), and a window's
embedding is the mean of its patches' unit embeddings, where WinCLIP sends each window through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from uad_orchestrator.detectors.bank.bank import opened_bank, rows_left, select_references, unit_rows
from uad_orchestrator.detectors.bank.rows.building import build_bank
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.detectors.open_clip.prompt_patch_settings import PromptPatchFit, PromptPatchScoring
from uad_orchestrator.detectors.open_clip.prompts import prompt_responses, prompt_state, similarities
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import CoresetSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.images.source import ImageSource

Window = Literal[2, 3, "image"]

SMALLEST = 1e-30
"""Probabilities below it count as it, so that harmonic means stay finite at very low temperatures."""


class OpenClipPromptPatch(Detector):
    """``vision_openclip_prompt_patch``; its settings: ``prompt_patch_settings``."""

    fit_settings: PromptPatchFit
    scoring_settings: PromptPatchScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The prompts' directions; with ``references`` a bank of these images' unit tokens, too."""
        settings = self.fit_settings
        references = select_references(images, settings.references)
        prompts = prompt_state(self.stream, settings)
        if settings.references is None:
            return prompts
        bank = build_bank(
            self.stream, references, BankRecipe(CoresetSettings(method="none"), seed=0, normalised=True)
        )
        return DetectorState({**prompts.arrays, **bank.arrays}, {**prompts.facts, **bank.facts})

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Patch scores in (0, 1): the probability of the anomalous prompts; few-shot adds half the cosine distance
        to the nearest reference token, in [0, 1]."""
        text, settings = state.arrays["text"], self.scoring_settings
        bank = opened_bank(self.stream, state) if "bank" in state.arrays else None

        def patch_scores(embedded: EmbeddedImage, units: np.ndarray) -> np.ndarray:
            grid, where = _on_grid(units, embedded.embedding)
            scores = window_probability(grid, text, settings.temperature, settings.windows)[where]
            if bank is None:
                return scores
            own = bank.rows_of(embedded.source) if leave_out else None
            squared, _ = bank.nearest.search(units, 1, own)
            return scores + squared[:, 0] / 4  # of unit vectors: (1 - cosine) / 2

        return prompt_responses(self.stream, state, images, patch_scores, settings.aggregation, settings.topk)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether tokens of other references are left; zero-shot there is nothing to leave out."""
        if "bank" not in state.arrays:
            return super().can_leave_out(state)
        return rows_left(self.stream, state, n_neighbors=1)


def window_probability(
    grid: np.ndarray, text: np.ndarray, temperature: float, windows: Sequence[Window] = ()
) -> np.ndarray:
    """How probable each patch makes the anomalous prompts, alone and in the windows that cover it.

    Per kind of window a patch takes the harmonic mean over the windows that cover it; over the patch itself and the
    kinds of windows the harmonic mean is taken again, as in WinCLIP.

    Args:
        grid: ``(gh, gw, d)`` unit patch embeddings; zeros where a patch is not inspected: a window then is
            the mean of the others in it.
        text: ``(2, d)`` unit directions of normal and anomalous.
        temperature: of the softmax.
        windows: sides in patches (at most the grid's), or ``image``: the whole grid.

    Returns:
        ``(gh, gw)`` float64 in (0, 1).
    """
    scales = [anomaly_probability(grid, text, temperature)]
    for window in windows:
        sides = grid.shape[:2] if window == "image" else [min(window, side) for side in grid.shape[:2]]
        views = np.lib.stride_tricks.sliding_window_view(grid, sides, axis=(0, 1))
        means = views.mean(axis=(-2, -1), dtype=np.float64)
        units = unit_rows(means.reshape(-1, grid.shape[2])).reshape(means.shape)
        scales.append(harmonic_over_windows(anomaly_probability(units, text, temperature), sides))
    return 1 / np.mean([1 / scale for scale in scales], axis=0)


def _on_grid(units: np.ndarray, embedding: PatchEmbedding) -> tuple[np.ndarray, np.ndarray]:
    """The inspected patches' unit rows ``(n, d)`` on the grid ``(gh, gw, d)``, zeros between them, and where they
    lie: ``(gh, gw)`` bool."""
    where = embedding.inspected_patches.reshape(embedding.grid_shape)
    grid = np.zeros((*embedding.grid_shape, units.shape[1]), units.dtype)
    grid[where] = units
    return grid, where


def anomaly_probability(units: np.ndarray, text: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax over both directions, taken at the anomalous one: unit rows ``(..., d)`` -> ``(...)`` float64."""
    from scipy.special import expit

    cosines = similarities(units, text)
    return np.maximum(expit((cosines[..., 1] - cosines[..., 0]) / temperature), SMALLEST)


def harmonic_over_windows(scores: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """From the windows' scores to the patches': the harmonic mean over the windows that cover a patch.

    Args:
        scores: ``(gh - h + 1, gw - w + 1)``, a window's at the place of its top left patch.
        sides: ``(h, w)`` of a window, in patches.

    Returns:
        ``(gh, gw)``.

    >>> harmonic_over_windows(np.array([[0.5, 0.25]]), (2, 2))
    array([[0.5       , 0.33333333, 0.25      ],
           [0.5       , 0.33333333, 0.25      ]])
    """
    around = [(side - 1, side - 1) for side in sides]

    def covering(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, around)
        return np.lib.stride_tricks.sliding_window_view(padded, tuple(sides)).sum(axis=(-2, -1))

    return covering(np.ones_like(scores)) / covering(1 / scores)
