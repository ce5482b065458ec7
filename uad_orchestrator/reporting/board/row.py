"""A row of the leaderboard, and what is known of the cell it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from uad_orchestrator.metrics.report import MetricsReport

Status = Literal["fresh", "stale", "missing", "failed"]
SPEED = ("seconds_per_image_p50", "seconds_per_image_p95")
POINT_FIELDS = ("precision", "recall", "f1", "false_positive_rate")
FIXED_METRICS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max")


@dataclass(frozen=True)
class BoardCell:
    """What became of a cell, where a report alone does not say it.

    Attributes:
        status: ``fresh`` (of the current versions), ``stale`` (a report, but of other versions), ``missing``
            (never made) or ``failed``.
        report: the newest report; needed for ``fresh`` and ``stale``.
        reason: why the cell is not fresh, in words a person can act on.
        version: version of the ``metrics_report`` artifact.
        replicates: of the image AUROC, from ``metrics.bootstrap``; of all cells of a category over the same
            test images. None where there is no image AUROC.

    Raises:
        ValueError: a report too many or too few, or no reason for a cell that is not fresh.
    """

    status: Status
    report: MetricsReport | None = None
    reason: str | None = None
    version: str | None = None
    replicates: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.status in ("fresh", "stale")) != (self.report is not None):
            raise ValueError(
                f"a {self.status} cell {'has no' if self.report is not None else 'needs a'} report"
            )
        if self.status != "fresh" and not self.reason:
            raise ValueError(f"a {self.status} cell needs the reason why it is {self.status}")


class LeaderboardRow(BaseModel):
    """One cell, or the mean of a detector's cells over several seeds. Every field is always there; what has no
    value is null and ``reasons`` says why.

    Metrics beyond the fixed ones (AUPRO at further limits) stand in fields of their own names.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    dataset: str
    category: str
    detector: str
    model: str | None = None
    status: Status
    reason: str | None = None
    version: str | None = None
    repeats: tuple[str, ...] = Field(
        (), description="the detectors, one per seed, that this row is the mean of"
    )
    repeat_of: str | None = Field(None, description="the detector that this row is one seed of")
    std: dict[str, float] = Field({}, description="standard deviation over the seeds, by figure")

    image_auroc: float | None = None
    image_auroc_interval: tuple[float, float] | None = Field(
        None, description="95 %, bootstrap over the test images"
    )
    within_noise_of: tuple[str, ...] = Field(
        (), description="detectors whose image AUROC here cannot be told apart: paired bootstrap, 95 %"
    )
    image_ap: float | None = None
    image_f1_max: float | None = None
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1_max: float | None = None
    aupro_0_3: float | None = Field(None, alias="aupro_0.3")
    aupro_0_05: float | None = Field(None, alias="aupro_0.05")

    threshold: float | None = Field(None, description="image threshold; anomalous means score > threshold")
    threshold_source: str | None = None
    pixel_threshold: float | None = None
    pixel_threshold_source: str | None = None
    contamination: float | None = Field(None, description="nominal false-positive rate of the thresholds")
    precision: float | None = None
    recall: float | None = Field(None, description="share of the defective test images above the threshold")
    f1: float | None = Field(None, description="at the threshold, unlike image_f1_max")
    false_positive_rate: float | None = Field(None, description="share of the normal test images above it")

    seconds_per_image_p50: float | None = None
    seconds_per_image_p95: float | None = None
    bank_rows: int | None = None
    bank_bytes: int | None = None
    reasons: dict[str, str] = Field(default_factory=dict, description="why a metric has no value")

    def value(self, key: str) -> Any:
        """A field by its published name, e.g. ``aupro_0.3``; None for a limit that was not evaluated."""
        name = {"aupro_0.3": "aupro_0_3", "aupro_0.05": "aupro_0_05"}.get(key, key)
        return getattr(self, name) if name in type(self).model_fields else (self.model_extra or {}).get(key)

    @property
    def category_key(self) -> str:
        """``dataset/category``."""
        return f"{self.dataset}/{self.category}"

    @property
    def measured(self) -> tuple[str, ...]:
        """The published names of the figures that repeats are averaged over."""
        known = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max")
        limits = ("aupro_0.3", "aupro_0.05", *(self.model_extra or {}))
        return (*known, *limits, *POINT_FIELDS, *SPEED, "bank_rows", "bank_bytes")
