"""The sections of datasets and of how their images are read."""

from __future__ import annotations

from pathlib import Path

from pydantic import (
    Field,
    PositiveFloat,
    SerializeAsAny,
    model_validator,
)

from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.strictness import LeakRule, MaskRule, Strictness
from uad_orchestrator.images.reading_settings import MAX_MEGAPIXELS, AlphaRule, ReadingSettings
from uad_orchestrator.project.settings.section import Section


class DatasetSettings(Section):
    """One dataset: where its files are and how they are arranged."""

    layout: str = Field(description="how the files are arranged; the dataset's own name, if that is a layout")
    root: Path = Field(description="the dataset's folder")
    categories: tuple[str, ...] | None = Field(None, description="those to benchmark; default: those found")
    exclude: tuple[str, ...] = Field((), description="images to leave out, by their path below `root`")
    incoming: Path | None = Field(None, description="the folder of new normal images")
    bit_depth: int | None = Field(
        None, ge=1, le=16, description="bits that 16-bit files really hold, e.g. 12; default: all of them"
    )
    value_range: tuple[float, float] | None = Field(
        None, description="[black, white] of files of floating point, or of 32-bit integers, e.g. [0, 1]"
    )
    alpha: AlphaRule = Field(
        "ignore",
        description="pixels that an alpha channel hides: read as if it did not (ignore), on white, or black (mask)",
    )
    masks: MaskRule | None = Field(
        None,
        description="required: a defective test image without a mask is an error; optional: pixel metrics leave it "
        "out; default: required of published sets, optional of layouts folder and manifest",
    )
    leaks: LeakRule = Field(
        "warn", description="error: copies between train, validation and test stop the category; or warn"
    )
    layout_settings: SerializeAsAny[LayoutSettings] | None = Field(
        None, description="the keys that the layout adds; None: its defaults"
    )

    @model_validator(mode="after")
    def _readable(self) -> DatasetSettings:
        self.reading()
        return self

    def reading(self, max_megapixels: float = MAX_MEGAPIXELS) -> ReadingSettings:
        """How its images are read.

        Args:
            max_megapixels: images with more pixels are errors.

        Returns:
            What its files do not say themselves, and the limit.
        """
        return ReadingSettings(self.bit_depth, self.value_range, self.alpha, max_megapixels)

    @property
    def strictness(self) -> Strictness:
        """What is an error in it."""
        return Strictness(self.masks, self.leaks)


class ImagesSettings(Section):
    """What every image is held to, whichever dataset it is of."""

    max_megapixels: PositiveFloat = Field(
        MAX_MEGAPIXELS,
        description="larger images are refused, by their header; an image takes some 3 to 6 MB per megapixel",
    )
