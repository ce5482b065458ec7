"""What is known of a detector without loading it, and how its flat settings are cut into stages."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from uad_orchestrator.detectors.protocol.settings import MapSettings, ScoringSettings, Settings
from uad_orchestrator.detectors.protocol.tiling_settings import TilingSettings
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.spelling import choose_from

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.detector import Detector


class StageSettings(NamedTuple):
    """A detector's settings, one model per stage.

    Attributes:
        fit: what ``memory_bank`` reads.
        scoring: what ``score_table`` reads.
        maps: what ``anomaly_maps`` reads.
        tiling: how images are cut into tiles, with keys of each stage; None: they are not.
    """

    fit: Settings
    scoring: ScoringSettings
    maps: MapSettings
    tiling: TilingSettings | None = None


STAGES = ("fit", "scoring", "maps")
"""The stages of a detector; each has settings and a version of its own."""

ENTRY_KEYS = frozenset(
    ("model", "preset", "embedder", "checkpoint", "tiling", "maps", "repeats", "review", "resources")
)
"""The keys of an entry that every detector has."""


@dataclass(frozen=True)
class DetectorSpec:
    """What is known of a detector without loading it.

    A plug-in's is what its entry point in ``uad_orchestrator.detectors`` leads to.

    Attributes:
        model: its name in a project file, ``vision_...``.
        implementation: its class, ``package.module:Class``, imported when it is first needed: a ``Detector``.
        fit: the settings that ``memory_bank`` reads.
        scoring: the settings that ``score_table`` reads.
        default_embedder: the embedder of an entry that names none; None: it brings a network of its own.
        default_maps: the recipe's own ``maps:`` settings.
        versions: stage version by stage (``fit``, ``scoring``, ``maps``); raised when its numbers change.
        check_embedder: raises ValueError for an embedder that the detector cannot work with; None: any will do.
        parts: what the class is handed besides stream and settings, with the defaults: a checkpoint, an object.
        package: a package whose version is part of the fit's recipe, beside the versions above; that of a plug-in
            itself always is.
        transductive: an image's score depends on the images it is scored with: for benchmarks only, without
            threshold or bundle.

    Raises:
        ValueError: a stage without a version, or a setting with two meanings.
    """

    model: str
    implementation: str
    fit: type[Settings]
    scoring: type[ScoringSettings]
    default_embedder: EmbedderSettings | None
    default_maps: MapSettings
    versions: Mapping[str, int]
    check_embedder: Callable[[EmbedderSettings], None] | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    package: str | None = None
    transductive: bool = False

    def __post_init__(self) -> None:
        if set(self.versions) != set(STAGES):
            raise ValueError(f"{self.model}: versions has {sorted(self.versions)}, expected {sorted(STAGES)}")
        fit, scoring = self.fit.model_fields.keys(), self.scoring.model_fields.keys()
        if twice := sorted((fit & scoring) | ((fit | scoring) & ENTRY_KEYS)):
            raise ValueError(
                f"{self.model}: the setting {twice[0]!r} has two meanings: each belongs to fit or to scoring, and none "
                f"is called like what every detector has ({', '.join(sorted(ENTRY_KEYS))})"
            )

    def load(self) -> type[Detector]:
        """Import the detector's class.

        Returns:
            The class; it is called with a stream, the settings of each stage, and ``parts``.

        Raises:
            ImportError: it cannot be; says why.
        """
        try:
            return pkgutil.resolve_name(self.implementation)
        except Exception as error:  # whatever a module raises while it is imported
            raise ImportError(
                f"{self.model}: {self.implementation} cannot be imported: {type(error).__name__}: {error}"
            ) from error

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys an entry of this detector may hold, besides model, preset, embedder and checkpoint."""
        return (*self.fit.model_fields, *self.scoring.model_fields, "maps", "tiling")

    def cut(self, settings: Mapping[str, Any]) -> StageSettings:
        """Cut flat settings, as they stand in a project file, into the stages that read them.

        Args:
            settings: values by key, e.g. ``{"coreset": {"ratio": 0.01}, "contamination": 0.1}``.

        Returns:
            The settings of each stage, every default filled in.

        Raises:
            ValueError: an unknown key (with the nearest valid word) or a value that is not allowed.

        >>> from uad_orchestrator.detectors.registry import detector_spec
        >>> stages = detector_spec("vision_patchcore").cut({"coreset": {"ratio": 0.01}, "n_neighbors": 3})
        >>> stages.fit.coreset.ratio, stages.scoring.n_neighbors
        (0.01, 3)
        """
        for key in settings:
            if key not in self.keys:
                raise ValueError(f"{self.model} has no setting {key!r}; {choose_from(key, self.keys)}")
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
