"""Camera drift in five grades: what a line's pictures look like when lamps age and settings slip.

Unlike augmentation it is never fitted: the test images are changed, to see what a detector and its preset bear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource

DRIFT_VERSION = 1
"""Raised when a drift gives other pixels."""

DriftKind = Literal["white_balance", "exposure", "glare", "jpeg", "blur", "noise"]
"""What can drift."""

KINDS: tuple[DriftKind, ...] = get_args(DriftKind)

AMOUNTS: Mapping[DriftKind, tuple[float, ...]] = {
    "white_balance": (0.05, 0.1, 0.2, 0.3, 0.4),  # red and blue against each other, share of each
    "exposure": (0.15, 0.3, 0.5, 0.75, 1.0),  # stops, too bright or too dark
    "glare": (0.1, 0.2, 0.35, 0.5, 0.8),  # of full scale, at the centre of a soft reflection
    "jpeg": (80, 50, 30, 15, 7),  # quality
    "blur": (0.002, 0.004, 0.007, 0.012, 0.02),  # Gaussian sigma, share of the shorter edge
    "noise": (0.01, 0.02, 0.04, 0.07, 0.1),  # Gaussian sigma, of full scale
}
"""What each grade does, from 1 to ``LEVELS``."""

LEVELS = 5

GLARE_RADIUS = 0.15
"""Sigma of a reflection, share of the shorter edge."""


@dataclass(frozen=True)
class Drift:
    """One kind of drift in one grade.

    Attributes:
        kind: what drifts.
        level: 1 (hardly seen) to 5 (a camera that should be serviced).
        seed: of what is drawn per image: direction, place, noise.
    """

    kind: DriftKind
    level: int
    seed: int = 0

    @property
    def name(self) -> str:
        """Says which pixels these are."""
        return f"drift {self.kind} {self.level}, seed {self.seed}, version {DRIFT_VERSION}"

    def apply(self, image: RgbImage, digest: str) -> RgbImage:
        """The image as the drifted camera takes it: the same shape and dtype; the input untouched.

        Args:
            image: ``(H, W, 3)`` RGB, uint8 or uint16.
            digest: the image's; everything drawn follows from it.

        Returns:
            The drifted image.
        """
        from uad_orchestrator.preprocessing.camera import draws_for
        from uad_orchestrator.preprocessing.steps import from_unit, to_unit

        draws = draws_for(self.kind, self.seed, digest)
        return from_unit(self._changed(to_unit(image), draws), image.dtype)

    def _changed(self, unit: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        from uad_orchestrator.preprocessing import camera

        amount = AMOUNTS[self.kind][self.level - 1]
        match self.kind:
            case "white_balance":
                share = amount * draws.choice((-1, 1))
                return camera.colour_gains(unit, (1 + share, 1, 1 - share))
            case "exposure":
                return camera.exposure(unit, 2.0 ** (amount * draws.choice((-1, 1))))
            case "glare":
                centre = (float(draws.uniform(0.2, 0.8)), float(draws.uniform(0.2, 0.8)))
                return camera.glare(unit, centre, GLARE_RADIUS, amount)
            case "jpeg":
                return camera.jpeg(unit, int(amount))
            case "blur":
                return camera.blur(unit, amount * min(unit.shape[:2]))
            case "noise":
                return camera.noise(unit, amount, draws)


def drifted(source: ImageSource, drift: Drift) -> ImageSource:
    """The image as the drifted camera takes it; its digest, under which embeddings are cached, says so.

    Args:
        source: the image.
        drift: kind, level and seed.

    Returns:
        A source of the same name and group; pixels are changed when they are read.
    """
    digest = hashlib.sha256(f"{source.digest} {drift.name}".encode()).hexdigest()
    return replace(source, digest=digest, read=lambda: drift.apply(source.read(), source.digest))
