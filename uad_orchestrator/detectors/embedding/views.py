"""Views of an image that are embedded beside it: turned, or as the camera might take it on another day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.preprocessing.augmentation import Augmentation

TURN_VERSION = 2
"""Raised when the same angle gives other pixels."""

_OFF_CENTRE = 0.5
"""AnomalyDINO's code turns about (width / 2, height / 2), where OpenCV counts from the middle of the first pixel."""


@dataclass(frozen=True)
class View:
    """One view of every image.

    Attributes:
        angle: the image is turned by this many degrees after the preset, as AnomalyDINO's ``rotate_image`` turns
            it before: about the point half a pixel right of and below its centre, on the same canvas, bilinear, with a
            reflect-101 border.
        augmentation: what the camera does before the preset; None: nothing.

    >>> View(angle=90.0).name
    'rot90-v2'
    """

    angle: float = 0.0
    augmentation: Augmentation | None = None

    @property
    def name(self) -> str:
        """Says which view it is: part of the key under which its embeddings are cached."""
        turned = f"rot{self.angle:g}" + (f"-v{TURN_VERSION}" if self.angle else "")
        return turned if self.augmentation is None else f"{turned}-{self.augmentation.name}"

    def before_preset(self, image: RgbImage, digest: str) -> RgbImage:
        """The image that the camera gives; ``digest`` is the image's own."""
        return image if self.augmentation is None else self.augmentation.apply(image, digest)

    def after_preset(self, image: RgbImage) -> RgbImage:
        """The image as it goes into the embedder."""
        from uad_orchestrator.preprocessing.camera import turn

        return turn(image, self.angle, _OFF_CENTRE) if self.angle else image

    def mask_on_canvas(self, inside: np.ndarray, size: tuple[int, int], digest: str) -> np.ndarray:
        """Where the True pixels of a mask of the original image lie after the preset.

        Args:
            inside: ``(H, W)`` bool, on the original image.
            size: ``(h, w)`` of the canvas after the preset.
            digest: the image's own.
        """
        import cv2

        if self.augmentation is not None:
            inside = self.augmentation.move_mask(inside, digest)
        if size != inside.shape:
            resized = cv2.resize(inside.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            inside = resized.astype(bool)
        return inside

    def turned_mask(self, inside: np.ndarray) -> np.ndarray:
        """Where the True pixels of a mask of the canvas, or of a tile of it, lie on what is embedded."""
        from uad_orchestrator.preprocessing.camera import turn_mask

        return turn_mask(inside, self.angle, _OFF_CENTRE) if self.angle else inside


PLAIN = View()
"""The image itself."""
