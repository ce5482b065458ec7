"""The detectors by the name a project file calls them, and how their flat settings are cut into stages.

Importing this module loads neither torch nor OpenCV; a detector's own module is loaded by
``DetectorSpec.load``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from uad_orchestrator.detectors.anomalib_names import ANY_MODEL, anomalib_models, detector_name, model_of
from uad_orchestrator.detectors.anomalib_settings import (
    AnomalibFit,
    AnomalibParts,
    CheckpointFit,
    CheckpointScoring,
)
from uad_orchestrator.detectors.musc_settings import MuscFit, MuscScoring
from uad_orchestrator.detectors.open_clip_settings import (
    PatchKnnFit,
    PatchKnnScoring,
    PromptFit,
    PromptPatchFit,
    PromptPatchScoring,
    PromptScoreScoring,
    check_text_embedder,
)
from uad_orchestrator.detectors.settings import (
    AnomalyDinoFit,
    AnomalyDinoScoring,
    MapSettings,
    PatchCoreFit,
    PatchCoreScoring,
    ScoringSettings,
    Settings,
)
from uad_orchestrator.detectors.softpatch_settings import SoftPatchFit, SoftPatchScoring
from uad_orchestrator.detectors.superadd_settings import SuperAddFit, SuperAddScoring
from uad_orchestrator.detectors.tiling_settings import TilingSettings
from uad_orchestrator.embedders.open_clip_names import WINCLIP
from uad_orchestrator.embedders.settings import EmbedderSettings

if TYPE_CHECKING:
    from uad_orchestrator.detectors.base import Detector
    from uad_orchestrator.detectors.embedding_stream import EmbeddingStream, ImagePreset
    from uad_orchestrator.embedders.protocol import PatchEmbedder
    from uad_orchestrator.storage.embedding_cache import EmbeddingCache


class StageSettings(NamedTuple):
    """A detector's settings, one model per stage: ``memory_bank``, ``score_table``, ``anomaly_maps``; and how
    images are cut into tiles, if they are, which has keys of each stage."""

    fit: Settings
    scoring: ScoringSettings
    maps: MapSettings
    tiling: TilingSettings | None = None


@dataclass(frozen=True)
class DetectorSpec:
    """What is known of a detector without loading it.

    Attributes:
        model: its name in a project file, ``vision_...``.
        fit: the settings that ``memory_bank`` reads.
        scoring: the settings that ``score_table`` reads.
        default_embedder: the embedder of an entry that names none; None: it brings a network of its own.
        default_maps: the recipe's own ``maps:`` settings.
        versions: stage version by stage (``fit``, ``scoring``, ``maps``); raised when its numbers change.
        load: imports the detector's class.
        check_embedder: raises ValueError for an embedder that the detector can not work with; None: any will do.
        parts: what the class is handed besides stream and settings, with the defaults: a checkpoint, an object.
        package: the package whose version is part of the fit's recipe, beside the versions above.
        transductive: an image's score depends on the images it is scored with: for benchmarks only, without
            threshold or bundle.
    """

    model: str
    fit: type[Settings]
    scoring: type[ScoringSettings]
    default_embedder: EmbedderSettings | None
    default_maps: MapSettings
    versions: Mapping[str, int]
    load: Callable[[], type[Detector]]
    check_embedder: Callable[[EmbedderSettings], None] | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    package: str | None = None
    transductive: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys an entry of this detector may hold, besides model, preset, embedder and checkpoint."""
        return (*self.fit.model_fields, *self.scoring.model_fields, "maps", "tiling")

    def cut(self, settings: Mapping[str, Any]) -> StageSettings:
        """Cut flat settings, as they stand in a project file, into the stages that read them.

        Raises:
            ValueError: an unknown key (with the nearest valid word) or a value that is not allowed.

        >>> stages = DETECTORS["vision_patchcore"].cut({"coreset": {"ratio": 0.01}, "n_neighbors": 3})
        >>> stages.fit.coreset.ratio, stages.scoring.n_neighbors
        (0.01, 3)
        """
        for key in settings:
            if key not in self.keys:
                raise ValueError(f"{self.model} has no setting {key!r}{_nearest(key, self.keys)}")
        maps = settings.get("maps") or {}
        maps = maps.model_dump() if isinstance(maps, MapSettings) else dict(maps)
        tiling = settings.get("tiling")
        return StageSettings(
            self.fit.model_validate({k: v for k, v in settings.items() if k in self.fit.model_fields}),
            self.scoring.model_validate(
                {k: v for k, v in settings.items() if k in self.scoring.model_fields}
            ),
            MapSettings.model_validate({**self.default_maps.model_dump(), **maps}),
            None if tiling is None else TilingSettings.model_validate(tiling),
        )


def _load_patchcore() -> type[Detector]:
    from uad_orchestrator.detectors.patchcore import PatchCore

    return PatchCore


def _load_anomaly_dino() -> type[Detector]:
    from uad_orchestrator.detectors.anomaly_dino import AnomalyDino

    return AnomalyDino


def _load_open_clip_patch_knn() -> type[Detector]:
    from uad_orchestrator.detectors.open_clip_patch_knn import OpenClipPatchKnn

    return OpenClipPatchKnn


def _load_open_clip_prompt_score() -> type[Detector]:
    from uad_orchestrator.detectors.open_clip_prompt_score import OpenClipPromptScore

    return OpenClipPromptScore


def _load_open_clip_prompt_patch() -> type[Detector]:
    from uad_orchestrator.detectors.open_clip_prompt_patch import OpenClipPromptPatch

    return OpenClipPromptPatch


CLIP_SURGERY = EmbedderSettings(name=WINCLIP, vv_blocks=6)
"""WinCLIP's backbone with CLIP Surgery's last six blocks, for what compares patches with prompts."""


def _load_anomalib() -> type[Detector]:
    from uad_orchestrator.detectors.anomalib_model import AnomalibDetector

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
    from uad_orchestrator.detectors.softpatch import SoftPatch

    return SoftPatch


def _load_superadd() -> type[Detector]:
    from uad_orchestrator.detectors.superadd import SuperAdd

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
            f"there is no detector {model!r}{_nearest(model, DETECTORS)}; known: {sorted(DETECTORS)}"
        )
    return DETECTORS[model]


def build_detector(model: str, stages: StageSettings, stream: EmbeddingStream, **parts: Any) -> Detector:
    """The detector ``model`` over an embedding stream, from settings that are already cut into stages.

    ``parts`` are those of the spec that are not to have their defaults.
    """
    spec = detector_spec(model)
    detector = spec.load()(stream, stages.fit, stages.scoring, stages.maps, **{**spec.parts, **parts})
    if stages.tiling is None:
        return detector
    from uad_orchestrator.detectors.tiled import TiledDetector

    return TiledDetector(detector, **stages.tiling.model_dump())


def create_detector(
    model: str,
    *,
    embedder: EmbedderSettings | PatchEmbedder | str | None = None,
    preset: ImagePreset | str | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    batch_size: int = 8,
    cache: EmbeddingCache | None = None,
    **settings: Any,
) -> Detector:
    """A detector, ready to be fitted. Nothing is loaded until it is needed.

    Args:
        model: ``vision_patchcore``, ``vision_anomalydino``, ...
        embedder: settings, an embedder's name, or an object with ``embed`` (``PatchEmbedder``); None: the
            detector's own default. An embedder that is handed in is called with the images as the preset
            leaves them, and its ``recipe()`` has to tell its weights apart when a ``cache`` is given.
        preset: what is done to every image before it is embedded: a preset, a shipped one's name, or None.
        weights: the embedder's weight file; it takes precedence over ``embedder.weights``.
        device: ``auto``, ``cpu``, ``cuda``...: where a torch embedder runs.
        batch_size: images per forward pass.
        cache: where patch embeddings are kept between calls; None: only while one ``fit`` runs.
        settings: the detector's settings, flat as in a project file: ``coreset={"ratio": 0.1}``,
            ``contamination=0.1``, ``maps={"gaussian_sigma": 4}``, ``tiling={"tile_size": 512}``,
            ``class_name="bottle"``; and what it is handed besides, where it takes such parts:
            ``checkpoint="m.pt"``, ``trusted_checkpoints=[...]``, ``inferencer=...`` (``AnomalibParts``).

    Raises:
        ValueError: an unknown model, setting or embedder; a value that is not allowed.
        ImportError: the embedder needs an extra that is not installed.
    """
    from uad_orchestrator.detectors.embedding_stream import open_stream

    spec = detector_spec(model)
    parts = {name: settings.pop(name) for name in spec.parts.keys() & settings.keys()}
    if "device" in spec.parts:
        parts["device"] = device
    stages = spec.cut(settings)
    embedder = spec.default_embedder if embedder is None else embedder
    embedder = EmbedderSettings(name=embedder) if isinstance(embedder, str) else embedder
    if spec.check_embedder is not None and isinstance(embedder, EmbedderSettings):
        spec.check_embedder(embedder)
    stream = open_stream(
        embedder,
        preset=preset,
        weights=weights,
        device=device,
        batch_size=batch_size,
        cache=cache,
    )
    return build_detector(model, stages, stream, **parts)


def _nearest(word: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
