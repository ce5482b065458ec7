"""``sleeping``: an embedder that takes its time without a processor, as one on a GPU of another machine would.

``SLEEP`` in the environment says how many seconds an image takes. It decides no number, so it is no setting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from uad_orchestrator.embedders import EmbedderSettings, EmbedderSpec, PatchEmbedding, check_image
from uad_orchestrator.images import RgbImage

SLEEP = "SLEEPING_EMBEDDER_SECONDS"
PACKAGE, VERSION = "sleeping-embedder", "1.0"


class SleepingSettings(EmbedderSettings):
    """The ``embedder:`` entry."""

    cell: PositiveInt = 8


class Sleeping:
    """The mean colours of square cells, late."""

    def __init__(self, settings: SleepingSettings, weights: Path | None, device: str) -> None:
        self.settings = settings

    def recipe(self) -> Mapping[str, Any]:
        """All settings, and the version."""
        return {"version": SPEC.version, **self.settings.model_dump(mode="json")}

    def embed(self, image: RgbImage) -> PatchEmbedding:
        """``(gh * gw, 3)`` float32, of an image whose sides are multiples of the cell."""
        check_image(image)
        time.sleep(float(os.environ.get(SLEEP, "0")))
        cell, (height, width) = self.settings.cell, image.shape[:2]
        grid = height // cell, width // cell
        rows = image.reshape(grid[0], cell, grid[1], cell, 3).mean((1, 3)).reshape(-1, 3)
        return PatchEmbedding(rows.astype(np.float32), grid, (height, width))


SPEC = EmbedderSpec(implementation=f"{__name__}:Sleeping", version=1, settings=SleepingSettings)


def install(folder: Path) -> Path:
    """Write what pip writes of an installed package; the folder goes on the path of every process."""
    metadata = folder / f"{PACKAGE}-{VERSION}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n")
    (metadata / "entry_points.txt").write_text(f"[uad_orchestrator.embedders]\nsleeping = {__name__}:SPEC\n")
    return folder
