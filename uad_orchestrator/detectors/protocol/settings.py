"""The detectors' settings, each in the one stage that reads it.

In the project file they stand flat below the detector's name; here they are cut by stage, because a stage's
settings are part of the version of what that stage computes: a new ``n_neighbors`` never refits a bank.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from uad_orchestrator.postprocess.finishing import Operation, Shape
from uad_orchestrator.preprocessing.augmentation import AugmentSettings


class Settings(BaseModel):
    """Strict and frozen: an unknown key is an error, a value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def for_category(self, category: str) -> Self:
        """These settings as they are for one category of a benchmark; only text prompts tell categories apart.

        Args:
            category: its name within the dataset, ``bottle``.

        Returns:
            The settings, themselves or a copy.
        """
        return self

    def versions(self) -> dict[str, int]:
        """Versions of what only some values of these settings use: it changes, and other entries stay as they are.

        Returns:
            Numbers by name, part of the recipe of the stage beside its own version.
        """
        return {}


class CoresetSettings(Settings):
    """How the memory bank is thinned (PatchCore, section 3.2)."""

    method: Literal["batched_greedy", "density", "random", "none"] = "batched_greedy"
    ratio: float = Field(0.1, gt=0, le=1, description="share of the patch embeddings that is kept")
    projection_dim: PositiveInt = Field(128, description="dimensions of the random projection of the search")
    starting_points: PositiveInt = Field(10, description="random points the greedy search starts from")


class ReferenceSettings(Settings):
    """Few-shot: the sorted normals ``[seed * k : (seed + 1) * k]`` are references, the others calibrate."""

    k: PositiveInt
    seed: int = Field(0, ge=0)


class CalibrationSettings(Settings):
    """Which normals set the operating points."""

    max_images: PositiveInt = Field(200, description="at most this many normals, chosen by seed")
    seed: int = Field(0, ge=0, description="of that choice")
    # left out of the recipe where it is on, as ``BankFit.index`` is where it is not given
    robust: bool = Field(
        True,
        exclude_if=lambda robust: robust,
        description="a normal whose score is far above all others' is named, and left aside for the thresholds",
    )


class CoresetCalibration(CalibrationSettings):
    """Which normals set the operating points of a detector that keeps a coreset, and how fitted ones are left out."""

    # left out of the recipe where it is not given, as ``BankFit.index`` is
    method: Literal["auto", "leave_out"] = Field(
        "auto",
        exclude_if=lambda method: method == "auto",
        description="auto: where a fitted image is left out of a coreset, other images' patches take its rows' place; "
        "leave_out: none do",
    )


class MorphologySettings(Settings):
    """Grey-scale morphology on anomaly maps, in pixels of the original image."""

    operation: Operation
    size: PositiveInt = Field(3, description="side of the structuring element in pixels; odd")
    shape: Shape = "disk"

    @field_validator("size")
    @classmethod
    def _has_a_centre(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"is {size}, should be odd: the element has a pixel in its middle")
        return size


class MapSettings(Settings):
    """From patch grid to anomaly map: the ``maps:`` entry of a detector."""

    gaussian_sigma: NonNegativeFloat = Field(4.0, description="Gaussian blur in pixels; 0: none")
    sigma_space: Literal["input", "image"] = Field(
        "input", description="pixels of the model's input (PatchCore) or of the original image (AnomalyDINO)"
    )
    normalisation: Literal["none", "normal_maps"] = Field(
        "none",
        description="normal_maps: in standard deviations from the mean of the calibration normals' maps",
    )
    morphology: MorphologySettings | None = Field(None, description="grey-scale morphology; default: none")
    clip: tuple[float | None, float | None] | None = Field(
        None, description="lowest and highest value that stay; null: no limit on that side"
    )
    min_area: NonNegativeInt = Field(
        0, description="regions above the pixel threshold with fewer pixels are lowered to it; 0: none"
    )

    @field_validator("clip")
    @classmethod
    def _in_order(cls, clip: tuple[float | None, float | None] | None) -> object:
        low, high = clip or (None, None)
        if low is not None and high is not None and low >= high:
            raise ValueError(f"is {[low, high]}: the lowest value comes first, and lies below the highest")
        return clip

    def recipe(self) -> dict[str, Any]:
        """What a map's version is made of.

        Returns:
            All that decides a map, as JSON values; a step that is off is left out, as if there were none.
        """
        steps = ("normalisation", "morphology", "clip", "min_area")
        off = {name for name in steps if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=off)


class ScoringSettings(Settings):
    """What every detector's score table needs.

    Attributes:
        calibration: which normals set the operating points.
    """

    contamination: float = Field(
        0.05, gt=0, lt=0.5, description="nominal false-positive rate of the operating points"
    )
    calibration: CalibrationSettings = CalibrationSettings()

    def on_tiles(self) -> dict[str, Any]:
        """What decides scores besides where images are cut into tiles.

        Returns:
            JSON values, part of the recipe of the scores of tiled images.
        """
        return {}


class CoresetScoring(ScoringSettings):
    """``ScoringSettings`` of a detector that keeps a coreset."""

    calibration: CoresetCalibration = CoresetCalibration()


class IndexSettings(Settings):
    """How a large bank is searched; ``index: ivf`` is short for ``index: {method: ivf}``."""

    method: Literal["ivf"] = Field(
        description="inverted file: only the nearest parts of the bank are searched"
    )
    min_rows: PositiveInt = Field(500_000, description="bank rows up to which the search stays exact")

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, given: object) -> object:
        return {"method": given} if isinstance(given, str) else given


class BankFit(Settings):
    """What every memory bank's fit needs."""

    # left out of the recipe where it is not given, so that banks made before there was a choice stay current
    index: IndexSettings | None = Field(None, exclude_if=lambda index: index is None)


class AugmentedFit(Settings):
    """Of the detectors that can be fitted on augmented views of the images."""

    # left out of the recipe as ``BankFit.index`` is
    augment: AugmentSettings | None = Field(
        None,
        exclude_if=lambda augment: augment is None,
        description="fit on augmented views of the images, too",
    )


class CoresetFit(BankFit):
    """A bank that is a coreset of the normals, or of the few-shot references."""

    coreset: CoresetSettings = CoresetSettings()
    references: ReferenceSettings | None = None
    seed: int = Field(0, ge=0)
