"""The settings of vision_superadd, each in the one stage that reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from uad_orchestrator.detectors.protocol.settings import (
    AugmentedFit,
    CoresetScoring,
    CoresetSettings,
    ReferenceSettings,
    Settings,
)


class TokenTileSettings(Settings):
    """Tiles of which the patch grid is stitched together token by token."""

    tile_size: PositiveInt = Field(896, description="side of a tile in pixels of the original image")
    overlap: float = Field(0.25, ge=0, lt=1, description="share of a tile that its neighbour covers too")


class SuperAddFit(AugmentedFit):
    """Stage ``memory_bank`` of vision_superadd."""

    tiles: TokenTileSettings = TokenTileSettings()
    distance: Literal["l2", "cosine"] = "l2"
    coreset: CoresetSettings = CoresetSettings(method="density", ratio=1.0)
    max_rows: PositiveInt = Field(100_000, description="rows of each layer's bank, at most")
    references: ReferenceSettings | None = None
    seed: int = Field(0, ge=0)


class SuperAddScoring(CoresetScoring):
    """Stage ``score_table`` of vision_superadd."""

    n_neighbors: PositiveInt = Field(1, description="distances to this many bank rows are averaged")
    aggregation: Literal["max", "mean", "topk_mean"] = "max"
    topk: float = Field(0.01, gt=0, le=1, description="share of the patches that topk_mean averages")
