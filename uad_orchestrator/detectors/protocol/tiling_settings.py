"""The ``tiling:`` entry of a detector, each key in the one stage that reads it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from uad_orchestrator.detectors.protocol.aggregation import Aggregation
from uad_orchestrator.detectors.protocol.settings import Settings
from uad_orchestrator.images.tiles import Padding, default_stride
from uad_orchestrator.postprocess.blending import Blend

TILING_VERSIONS = {"fit": 1, "scoring": 1, "maps": 1}
"""Raised when the numbers of tiled images change, by the stage in which they do."""


class TileCutting(Settings):
    """How images are cut: what ``memory_bank`` reads of ``tiling:``."""

    tile_size: PositiveInt = Field(
        description="side of a tile in pixels of the image as its preset leaves it"
    )
    stride: PositiveInt | None = Field(
        None, description="pixels from one tile to the next; default: three quarters of tile_size"
    )
    padding: Padding = Field("reflect", description="what fills a tile where the image is smaller")

    @field_validator("stride")
    @classmethod
    def _leaves_no_gap(cls, stride: int | None, info: ValidationInfo) -> int | None:
        if stride is not None and stride > info.data.get("tile_size", stride):
            raise ValueError(f"is {stride}, should be at most tile_size, or tiles leave gaps between them")
        return stride

    @property
    def resolved_stride(self) -> int:
        """The stride, given or by default."""
        return self.stride or default_stride(self.tile_size)


class TileScoring(Settings):
    """From the tiles' scores to the image's: what ``score_table`` reads of ``tiling:``."""

    score_reduce: Aggregation = "max"
    topk: float = Field(0.1, gt=0, le=1, description="share of the tiles that topk_mean averages")


class TileBlending(Settings):
    """From the tiles' maps to the image's: what ``anomaly_maps`` reads of ``tiling:``."""

    blend: Blend = Field("hann", description="hann: a tile counts most at its centre, so that no seam shows")


class TilingSettings(TileCutting, TileScoring, TileBlending):
    """The ``tiling:`` entry of a detector; each key belongs to the stage whose part it comes from."""

    def recipe(self, stage: Literal["fit", "scoring", "maps"]) -> dict[str, Any]:
        """What a stage reads of it, as JSON values, with the version of the code behind it."""
        parts: dict[str, type[Settings]] = {"fit": TileCutting, "scoring": TileScoring, "maps": TileBlending}
        values = {name: getattr(self, name) for name in parts[stage].model_fields}
        if stage == "fit":
            values["stride"] = self.resolved_stride
        return {"version": TILING_VERSIONS[stage], **values}
