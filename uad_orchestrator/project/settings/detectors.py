"""The section of a detector, and what people chose for its cells."""

from __future__ import annotations

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from uad_orchestrator.detectors.protocol.settings import MapSettings, ScoringSettings, Settings
from uad_orchestrator.detectors.protocol.tiling_settings import TilingSettings
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.metrics.thresholds.operating_point import Pin
from uad_orchestrator.project.settings.section import Section


class RepeatSettings(Section):
    """The same detector several times, each time with another seed."""

    seeds: tuple[NonNegativeInt, ...] = Field(
        min_length=2, description="one detector per seed, `<name>@seed<seed>`"
    )

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"holds {list(seeds)}: a seed stands there twice")
        return seeds


class ReviewSettings(Section):
    """The grey zone: parts below the image threshold that a person looks at."""

    from_fpr: float = Field(
        gt=0,
        lt=0.5,
        description="share of good parts, at most, that review and rejection take together; more than `contamination`",
    )


class ResourceSettings(Section):
    """What a run of the detector's cells takes of a cluster's machine. Never part of a version."""

    num_gpus: NonNegativeFloat | None = Field(
        None,
        allow_inf_nan=False,
        description="GPUs; on Ray a share, such as `0.5`, lets two runs have one; Kubernetes gives whole ones",
    )
    num_cpus: PositiveFloat | None = Field(None, allow_inf_nan=False, description="CPU cores")

    @field_validator("num_gpus")
    @classmethod
    def _whole_above_one(cls, number: float | None) -> float | None:
        """Ray takes shares of one GPU, and whole ones."""
        if number is not None and number > 1 and not number.is_integer():
            raise ValueError(f"is {number:g}: above 1 it must be a whole number of GPUs")
        return number

    @model_validator(mode="after")
    def _one_at_least(self) -> ResourceSettings:
        if self.num_gpus is None and self.num_cpus is None:
            raise ValueError("asks for nothing: give `num_gpus:` or `num_cpus:`, or take the entry out")
        return self


class CellPins(Section):
    """The thresholds of a cell that people chose instead of the calibrated ones."""

    image: Pin | None = Field(None, description="of image scores; default: the calibrated one")
    pixel: Pin | None = Field(None, description="of the values of anomaly maps; default: the calibrated one")

    @model_validator(mode="after")
    def _one_at_least(self) -> CellPins:
        if self.image is None and self.pixel is None:
            raise ValueError("pins nothing: give `image:` or `pixel:`, or take the entry out")
        return self


NO_PINS: CellPins = CellPins.model_construct()
"""Of a cell whose thresholds are the calibrated ones."""


class DetectorEntry(Section):
    """One detector of the grid: a model with its settings, each in the stage that reads it."""

    name: str = Field(description="the partition key, `<name>@seed<seed>` of one with `repeats`")
    repeat_of: str | None = Field(None, description="the entry's name in the file, where it has `repeats`")
    model: str = Field(description="which detector, e.g. vision_patchcore")
    preset: str = Field("plain", description="the preprocessing preset images pass through first")
    embedder: SerializeAsAny[EmbedderSettings] | None = Field(
        description="what makes the patch embeddings; default: the model's own; None: it has a network of its own"
    )
    checkpoint: str | None = Field(
        None,
        min_length=1,
        description="a trained model's file; {dataset} and {category} make it one per cell",
    )
    tiling: TilingSettings | None = Field(None, description="inspect the image in overlapping tiles")
    repeats: RepeatSettings | None = Field(None, description="the same detector with several seeds")
    review: ReviewSettings | None = Field(None, description="parts that a person looks at")
    resources: ResourceSettings | None = Field(
        None, description="what a run of its cells takes of a cluster's machine"
    )
    fit: SerializeAsAny[Settings] = Field(description="what memory_bank reads")
    scoring: SerializeAsAny[ScoringSettings] = Field(description="what score_table reads")
    maps: MapSettings = Field(description="what anomaly_maps reads")

    @property
    def calibration_folder(self) -> str | None:
        """The folder of normals that a checkpoint is calibrated on, as the file says it; None: the dataset's own."""
        return getattr(self.scoring.calibration, "folder", None)
