"""``augment:``, the fitted images as the camera might have taken them on another day.

What happens to an image follows from its digest, so that it is the same whenever and wherever it is fitted.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from uad_orchestrator.images.decode import RgbImage

AUGMENTATION_VERSION = 1
"""Raised when the same settings give other pixels."""

NO_LOSS = 100
"""The JPEG quality that stands for none."""


class AugmentSettings(BaseModel):
    """How much an augmented view may differ; each amount is drawn between none and what is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    copies: PositiveInt = Field(
        1, description="augmented views of every fitted image, beside the image itself"
    )
    seed: int = Field(0, ge=0, description="of what is drawn, together with the image's digest")
    brightness: float = Field(0.0, ge=0, lt=1, description="share by which the light changes, up or down")
    white_balance: float = Field(
        0.0, ge=0, lt=1, description="share by which each channel changes, up or down"
    )
    blur: float = Field(0.0, ge=0, le=20, description="Gaussian sigma in pixels of the original image")
    noise: float = Field(0.0, ge=0, le=0.5, description="Gaussian noise, sigma of full scale")
    jpeg: int = Field(NO_LOSS, ge=1, le=NO_LOSS, description="lowest quality; 100: not compressed")
    rotation: float = Field(0.0, ge=0, le=45, description="degrees, either way; the border is reflected")

    @model_validator(mode="after")
    def _changes_something(self) -> AugmentSettings:
        amounts = (self.brightness, self.white_balance, self.blur, self.noise, self.rotation)
        if not any(amounts) and self.jpeg == NO_LOSS:
            raise ValueError(
                "nothing is augmented: give at least one of brightness, white_balance, blur, noise, jpeg, rotation"
            )
        return self


@dataclass(frozen=True)
class Augmentation:
    """One augmented view of every image.

    Attributes:
        settings: how much it may differ.
        number: which of the ``copies``, from 0.
    """

    settings: AugmentSettings
    number: int

    @property
    def name(self) -> str:
        """Says which pixels these are: part of the key under which their embeddings are cached."""
        recipe = self.settings.model_dump(mode="json", exclude={"copies"}) | {"version": AUGMENTATION_VERSION}
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        return f"augment{self.number}-{digest[:20]}"

    def apply(self, image: RgbImage, digest: str) -> RgbImage:
        """The image as another day's camera takes it: the same shape and dtype; the input untouched.

        Args:
            image: ``(H, W, 3)`` RGB, uint8 or uint16.
            digest: the image's; everything random follows from it.

        Returns:
            The augmented view.
        """
        from uad_orchestrator.preprocessing import camera
        from uad_orchestrator.preprocessing.steps import from_unit, to_unit

        given, drawn = self.settings, self._draw(digest)
        unit = to_unit(image)
        if given.rotation:
            unit = camera.turn(unit, drawn.angle)
        if given.brightness:
            unit = camera.exposure(unit, drawn.brightness)
        if given.white_balance:
            unit = camera.colour_gains(unit, drawn.gains)
        if drawn.sigma > 0:
            unit = camera.blur(unit, drawn.sigma)
        if given.noise:
            unit = camera.noise(unit, drawn.noise, camera.draws_for("noise", *self._seed(digest)))
        if given.jpeg < NO_LOSS:
            unit = camera.jpeg(unit, drawn.quality)
        return from_unit(unit, image.dtype)

    def move_mask(self, mask: np.ndarray, digest: str) -> np.ndarray:
        """Where ``apply`` brings the True pixels of a mask.

        Args:
            mask: ``(H, W)`` bool.
            digest: the image's.

        Returns:
            ``(H, W)`` bool.
        """
        from uad_orchestrator.preprocessing.camera import turn_mask

        return turn_mask(mask, self._draw(digest).angle) if self.settings.rotation else mask

    def _seed(self, digest: str) -> tuple[object, ...]:
        return self.settings.seed, self.number, digest

    def _draw(self, digest: str) -> _Drawn:
        """All amounts are drawn whether they are used or not: switching one on leaves the others as they were."""
        from uad_orchestrator.preprocessing.camera import draws_for

        given = self.settings
        draws = draws_for("amounts", *self._seed(digest))
        either_way, share = draws.uniform(-1, 1, 5), draws.uniform(0, 1, 3)
        return _Drawn(
            angle=given.rotation * either_way[0],
            brightness=1 + given.brightness * either_way[1],
            gains=tuple(1 + given.white_balance * either_way[2:]),
            sigma=given.blur * share[0],
            noise=given.noise * share[1],
            quality=round(NO_LOSS - (NO_LOSS - given.jpeg) * share[2]),
        )


@dataclass(frozen=True)
class _Drawn:
    """What was drawn for one view of one image."""

    angle: float
    brightness: float
    gains: tuple[float, ...]
    sigma: float
    noise: float
    quality: int
