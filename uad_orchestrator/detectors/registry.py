"""The detectors, by the name a project file calls them: ours, and those of other packages (``plugins``).

Importing this module loads neither torch nor OpenCV; a detector's own module is loaded by ``DetectorSpec.load``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version

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
from uad_orchestrator.detectors.protocol.spec import DetectorSpec
from uad_orchestrator.embedders.open_clip.names import WINCLIP
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.extras import require_extra
from uad_orchestrator.plugins import PluginError, PluginGroup, installed
from uad_orchestrator.spelling import choose_from

PLUGINS = PluginGroup("uad_orchestrator.detectors", DetectorSpec, "detector")
"""The detectors of other packages."""

DINO_V2 = "vit_small_patch14_dinov2.lvd142m"

CLIP_SURGERY = EmbedderSettings(name=WINCLIP, vv_blocks=6)
"""WinCLIP's backbone with CLIP Surgery's last six blocks, for what compares patches with prompts."""


def _anomalib_spec(model: str) -> DetectorSpec:
    return DetectorSpec(
        model=model,
        implementation="uad_orchestrator.detectors.anomalib.model:AnomalibDetector",
        fit=CheckpointFit if model == ANY_MODEL else AnomalibFit,
        scoring=CheckpointScoring,
        default_embedder=None,
        default_maps=MapSettings(gaussian_sigma=0.0, sigma_space="image"),
        versions={"fit": 1, "scoring": 1, "maps": 1},
        parts={part.name: part.default for part in fields(AnomalibParts)} | {"network": model_of(model)},
        package="anomalib",
    )


DETECTORS: Mapping[str, DetectorSpec] = {
    spec.model: spec
    for spec in (
        DetectorSpec(
            model="vision_patchcore",
            implementation="uad_orchestrator.detectors.bank.patchcore:PatchCore",
            fit=PatchCoreFit,
            scoring=PatchCoreScoring,
            default_embedder=EmbedderSettings(name="filter_bank"),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 4, "maps": 1},
        ),
        DetectorSpec(
            model="vision_anomalydino",
            implementation="uad_orchestrator.detectors.bank.anomaly_dino:AnomalyDino",
            fit=AnomalyDinoFit,
            scoring=AnomalyDinoScoring,
            default_embedder=EmbedderSettings(name=DINO_V2),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="image"),
            versions={"fit": 1, "scoring": 4, "maps": 1},
        ),
        DetectorSpec(
            model="vision_openclip_patchknn",
            implementation="uad_orchestrator.detectors.open_clip.patch_knn:OpenClipPatchKnn",
            fit=PatchKnnFit,
            scoring=PatchKnnScoring,
            default_embedder=EmbedderSettings(name=WINCLIP),
            default_maps=MapSettings(),
            versions={"fit": 1, "scoring": 4, "maps": 1},
        ),
        DetectorSpec(
            model="vision_openclip_promptscore",
            implementation="uad_orchestrator.detectors.open_clip.prompt_score:OpenClipPromptScore",
            fit=PromptFit,
            scoring=PromptScoreScoring,
            default_embedder=CLIP_SURGERY,
            default_maps=MapSettings(),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            check_embedder=check_text_embedder,
        ),
        DetectorSpec(
            model="vision_openclip_prompt_patch",
            implementation="uad_orchestrator.detectors.open_clip.prompt_patch:OpenClipPromptPatch",
            fit=PromptPatchFit,
            scoring=PromptPatchScoring,
            default_embedder=CLIP_SURGERY,
            default_maps=MapSettings(),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            check_embedder=check_text_embedder,
        ),
        DetectorSpec(
            model="vision_softpatch",
            implementation="uad_orchestrator.detectors.bank.softpatch:SoftPatch",
            fit=SoftPatchFit,
            scoring=SoftPatchScoring,
            default_embedder=EmbedderSettings(name="filter_bank"),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 3, "maps": 1},
        ),
        DetectorSpec(
            model="vision_superadd",
            implementation="uad_orchestrator.detectors.bank.superadd:SuperAdd",
            fit=SuperAddFit,
            scoring=SuperAddScoring,
            # every quarter of the network's depth, as the blocks leave them
            default_embedder=EmbedderSettings(name=DINO_V2, layers=("2", "5", "8", "11"), norm="none"),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 4, "maps": 1},
        ),
        DetectorSpec(
            model="vision_musc",
            implementation="uad_orchestrator.detectors.musc:MuSc",
            fit=MuscFit,
            scoring=MuscScoring,
            default_embedder=EmbedderSettings(name=DINO_V2),
            default_maps=MapSettings(gaussian_sigma=4.0, sigma_space="input"),
            versions={"fit": 1, "scoring": 1, "maps": 1},
            transductive=True,
        ),
        *map(_anomalib_spec, (ANY_MODEL, *map(detector_name, anomalib_models()))),
    )
}
"""Our own detectors, by the name a project file calls them; ``detector_spec`` knows those of plug-ins, too."""


def detector_names() -> tuple[str, ...]:
    """Every detector that can be named here.

    Returns:
        Names, ours first, then those of plug-ins; nothing is imported.
    """
    return (*DETECTORS, *PLUGINS.words)


def detector_spec(model: str) -> DetectorSpec:
    """What is known of a detector, one of ours or a plug-in's.

    Args:
        model: its name in a project file, ``vision_patchcore``, ...

    Returns:
        Its spec.

    Raises:
        ValueError: there is none of that name; says the nearest.
        PluginError: the package that brings it cannot be used, or several bring it.
    """
    spec = PLUGINS.choose(model, DETECTORS.get(model))
    if spec is None:
        raise ValueError(
            f"there is no detector {model!r}; {choose_from(model, detector_names())}; one that another package brings "
            "can be named once that is installed"
        )
    if spec.model != model:
        raise PluginError(
            f"the entry point {model!r} leads to the spec of a detector {spec.model!r}: the package "
            f"{' '.join(PLUGINS.package_of(model))} has to give both one name"
        )
    return spec


def required_packages(model: str) -> dict[str, str]:
    """The packages beside this one whose versions are part of a detector's recipe, with these versions.

    That of the plug-in that brings it, and the one its spec names (``DetectorSpec.package``).

    Raises:
        ImportError: one is not installed; says how to get it.
        ValueError: there is no such detector.
    """
    spec = detector_spec(model)
    found = PLUGINS.package_of(model)
    if spec.package is None:
        return found
    if model in DETECTORS:
        require_extra(spec.package, extra=spec.package, what=model)
    elif not installed(spec.package):
        raise ImportError(f"{model} needs {spec.package}, not installed here: pip install {spec.package}")
    return {**found, spec.package: version(spec.package)}
