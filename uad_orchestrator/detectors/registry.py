"""The detectors, by the name a project file calls them.

Importing this module loads neither torch nor OpenCV; a detector's own module is loaded by
``DetectorSpec.load``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from uad_orchestrator.detectors.anomalib.names import ANY_MODEL, anomalib_models, detector_name, model_of
from uad_orchestrator.detectors.anomalib.settings import (
    AnomalibFit,
    AnomalibParts,
    CheckpointFit,
    CheckpointScoring,
)
from uad_orchestrator.detectors.bank.anomaly_dino_settings import AnomalyDinoFit, AnomalyDinoScoring
from uad_orchestrator.detectors.bank.patchcore_settings import PatchCoreFit, PatchCoreScoring
from uad_orchestrator.detectors.bank.softpatch_settings import SoftPatchFit, SoftPatchScoring
from uad_orchestrator.detectors.bank.superadd_settings import SuperAddFit, SuperAddScoring
from uad_orchestrator.detectors.musc_settings import MuscFit, MuscScoring
from uad_orchestrator.detectors.open_clip.patch_knn_settings import PatchKnnFit, PatchKnnScoring
from uad_orchestrator.detectors.open_clip.prompt_patch_settings import PromptPatchFit, PromptPatchScoring
from uad_orchestrator.detectors.open_clip.prompt_score_settings import PromptScoreScoring
from uad_orchestrator.detectors.open_clip.prompt_settings import PromptFit, check_text_embedder
from uad_orchestrator.detectors.protocol.settings import MapSettings
from uad_orchestrator.detectors.protocol.spec import DetectorSpec, nearest_word
from uad_orchestrator.embedders.open_clip.names import WINCLIP
from uad_orchestrator.embedders.settings import EmbedderSettings

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.detector import Detector


def _load_patchcore() -> type[Detector]:
    from uad_orchestrator.detectors.bank.patchcore import PatchCore

    return PatchCore


def _load_anomaly_dino() -> type[Detector]:
    from uad_orchestrator.detectors.bank.anomaly_dino import AnomalyDino

    return AnomalyDino


def _load_open_clip_patch_knn() -> type[Detector]:
    from uad_orchestrator.detectors.open_clip.patch_knn import OpenClipPatchKnn

    return OpenClipPatchKnn


def _load_open_clip_prompt_score() -> type[Detector]:
    from uad_orchestrator.detectors.open_clip.prompt_score import OpenClipPromptScore

    return OpenClipPromptScore


def _load_open_clip_prompt_patch() -> type[Detector]:
    from uad_orchestrator.detectors.open_clip.prompt_patch import OpenClipPromptPatch

    return OpenClipPromptPatch


CLIP_SURGERY = EmbedderSettings(name=WINCLIP, vv_blocks=6)
"""WinCLIP's backbone with CLIP Surgery's last six blocks, for what compares patches with prompts."""


def _load_anomalib() -> type[Detector]:
    from uad_orchestrator.detectors.anomalib.model import AnomalibDetector

    return AnomalibDetector


def _anomalib_spec(model: str) -> DetectorSpec:
    return DetectorSpec(
        model=model,
        fit=CheckpointFit if model == ANY_MODEL else AnomalibFit,
        scoring=CheckpointScoring,
        default_embedder=None,
        default_maps=MapSettings(gaussian_sigma=0.0, sigma_space="image"),
        versions={"fit": 1, "scoring": 1, "maps": 1},
        load=_load_anomalib,
        parts={part.name: part.default for part in fields(AnomalibParts)} | {"network": model_of(model)},
        package="anomalib",
    )


def _load_softpatch() -> type[Detector]:
    from uad_orchestrator.detectors.bank.softpatch import SoftPatch

    return SoftPatch


def _load_superadd() -> type[Detector]:
    from uad_orchestrator.detectors.bank.superadd import SuperAdd

    return SuperAdd


def _load_musc() -> type[Detector]:
    from uad_orchestrator.detectors.musc import MuSc

    return MuSc


DINO_V2 = "vit_small_patch14_dinov2.lvd142m"

DETECTORS: Mapping[str, DetectorSpec] = {
    spec.model: spec
    for spec in (
        DetectorSpec(
            model="vision_patchcore",
            fit=PatchCoreFit,
            scoring=PatchCoreScoring,
            default_embedder=EmbedderSettings(name="filter_bank"),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_patchcore,
        ),
        DetectorSpec(
            model="vision_anomalydino",
            fit=AnomalyDinoFit,
            scoring=AnomalyDinoScoring,
            default_embedder=EmbedderSettings(name=DINO_V2),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="image"),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_anomaly_dino,
        ),
        DetectorSpec(
            model="vision_openclip_patchknn",
            fit=PatchKnnFit,
            scoring=PatchKnnScoring,
            default_embedder=EmbedderSettings(name=WINCLIP),
            default_maps=MapSettings(),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_open_clip_patch_knn,
        ),
        DetectorSpec(
            model="vision_openclip_promptscore",
            fit=PromptFit,
            scoring=PromptScoreScoring,
            default_embedder=CLIP_SURGERY,
            default_maps=MapSettings(),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_open_clip_prompt_score,
            check_embedder=check_text_embedder,
        ),
        DetectorSpec(
            model="vision_openclip_prompt_patch",
            fit=PromptPatchFit,
            scoring=PromptPatchScoring,
            default_embedder=CLIP_SURGERY,
            default_maps=MapSettings(),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_open_clip_prompt_patch,
            check_embedder=check_text_embedder,
        ),
        DetectorSpec(
            model="vision_softpatch",
            fit=SoftPatchFit,
            scoring=SoftPatchScoring,
            default_embedder=EmbedderSettings(name="filter_bank"),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_softpatch,
        ),
        DetectorSpec(
            model="vision_superadd",
            fit=SuperAddFit,
            scoring=SuperAddScoring,
            # every quarter of the network's depth, as the blocks leave them
            default_embedder=EmbedderSettings(name=DINO_V2, layers=("2", "5", "8", "11"), norm="none"),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_superadd,
        ),
        DetectorSpec(
            model="vision_musc",
            fit=MuscFit,
            scoring=MuscScoring,
            default_embedder=EmbedderSettings(name=DINO_V2),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            load=_load_musc,
            transductive=True,
        ),
        *map(_anomalib_spec, (ANY_MODEL, *map(detector_name, anomalib_models()))),
    )
}


def detector_spec(model: str) -> DetectorSpec:
    """The spec of ``model``; ValueError with the nearest valid word if there is none."""
    if model not in DETECTORS:
        raise ValueError(
            f"there is no detector {model!r}{nearest_word(model, DETECTORS)}; known: {sorted(DETECTORS)}"
        )
    return DETECTORS[model]
