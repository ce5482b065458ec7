"""``own_gradients``: which way the edges of a cell run (after Dalal and Triggs, CVPR 2005), and its mean colour."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from uad_orchestrator.embedders import EmbedderSettings, EmbedderSpec, PatchEmbedding, Region, check_image
from uad_orchestrator.images import RgbImage


class GradientSettings(EmbedderSettings):
    """The ``embedder:`` entry; of the keys that other embedders have it reads none (``SPEC.reads``)."""

    cell: PositiveInt = Field(16, description="side of a patch, in pixels of the image")
    orientations: PositiveInt = Field(9, description="bins of the histogram of edge directions")


class Gradients:
    """Images stay at their own size; what is left over beside whole cells is not inspected."""

    def __init__(self, settings: GradientSettings, weights: Path | None = None, device: str = "auto") -> None:
        self.settings = settings

    def recipe(self) -> Mapping[str, Any]:
        """All that decides the numbers; used where the object itself is handed to ``create_detector``."""
        return {"embedder": "own_gradients", "version": SPEC.version, **self.settings.model_dump(mode="json")}

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """``(gh * gw, orientations + 3)`` float32, row by row."""
        check_image(image)
        cell, bins, (height, width) = self.settings.cell, self.settings.orientations, image.shape[:2]
        gh, gw = height // cell, width // cell
        unit = image[: gh * cell, : gw * cell] / np.float32(np.iinfo(image.dtype).max)
        down, right = np.gradient(unit.mean(axis=2))
        direction = np.arctan2(down, right) % np.pi  # an edge and its opposite run the same way
        chosen = np.minimum((direction / np.pi * bins).astype(int), bins - 1)
        edges = np.hypot(down, right)[..., None] * (chosen[..., None] == np.arange(bins))
        features = np.concatenate([edges, unit], axis=2).reshape(gh, cell, gw, cell, -1).mean(axis=(1, 3))
        rows = np.ascontiguousarray(features.reshape(gh * gw, -1), np.float32)
        covered = (gh * cell, gw * cell)
        return PatchEmbedding(rows, (gh, gw), (height, width), Region(0, 0, *covered), covered)

    def embed_batch(self, images: Sequence[RgbImage]) -> list[PatchEmbedding]:
        """One result per image, in order."""
        return [self.embed(image) for image in images]


SPEC = EmbedderSpec(implementation="own_detector.gradients:Gradients", version=1, settings=GradientSettings)
