"""A row of the leaderboard, and what is known of the cell it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from uad_orchestrator.metrics.catalogue import board_metrics, find

if TYPE_CHECKING:
    from uad_orchestrator.metrics.report import MetricsReport

Status = Literal["fresh", "stale", "missing", "failed"]

PROMISE = ("guaranteed_rate", "false_positive_limit")
"""What a threshold promises of new normals."""


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

    The metrics of images and pixels are fields under their own names, ``aupro_0.3`` too: those that every board
    has (``metrics.catalogue``), and at the end what only some protocols measure.

    Attributes:
        dataset: of the cell.
        category: of the cell, within its dataset.
        detector: of the cell.
        model: the detector's, ``vision_...``.
        status: ``fresh``, ``stale`` (figures of other versions), ``missing`` or ``failed``.
        reason: why it is not fresh.
        version: of the metrics report.
        threshold_source: which normals the image threshold comes from.
        pixel_threshold: the threshold of map pixels.
        pixel_threshold_source: which normals it comes from.
        precision: share of defective images among those above the threshold.
        seconds_per_image_p50: median time per image.
        seconds_per_image_p95: 95 % of the images are faster than this.
        bank_rows: patch embeddings in the memory bank.
        bank_bytes: its size.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, float | None] = Field(init=False)

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

    image_auroc_interval: tuple[float, float] | None = Field(
        None, description="95 %, of other test images: Newcombe's method 5"
    )
    intervals: dict[str, tuple[float, float]] = Field(
        {}, description="95 %, by figure; one that has no interval is not there (see metrics.intervals)"
    )
    within_noise_of: tuple[str, ...] = Field(
        (), description="detectors whose image AUROC here cannot be told apart: paired bootstrap, 95 %"
    )
    threshold: float | None = Field(None, description="image threshold; anomalous means score > threshold")
    threshold_source: str | None = None
    guaranteed_rate: float | None = Field(
        None, description="the chance, at most, that a new normal image lies above the threshold"
    )
    false_positive_limit: float | None = Field(
        None,
        description="the false-positive rate that this threshold does not exceed, at 95 % confidence, by the normals "
        "that calibrate",
    )
    pixel_threshold: float | None = None
    pixel_threshold_source: str | None = None
    pixel_guaranteed_rate: float | None = Field(
        None,
        description="the chance, at most, that a new normal image has a pixel above the pixel threshold",
    )
    pixel_false_positive_limit: float | None = Field(None, description="as false_positive_limit, likewise")
    contamination: float | None = Field(None, description="nominal false-positive rate of the thresholds")
    precision: float | None = None
    recall: float | None = Field(None, description="share of the defective test images above the threshold")
    f1: float | None = Field(None, description="at the threshold, unlike image_f1_max")
    false_positive_rate: float | None = Field(None, description="share of the normal test images above it")
    false_positive_rate_from: str | None = Field(
        None, description="the held-out normals that the rate is of, where there are no normal test images"
    )
    review_threshold: float | None = Field(
        None,
        description="above it, and not above the image threshold, a person looks at a part: the grey zone",
    )
    share_in_review: float | None = Field(
        None, description="share of the normal test images in the grey zone"
    )
    defects_in_review: float | None = Field(None, description="share of the defective test images in it")
    expected_cost: float | None = Field(
        None, description="of wrong decisions, per part of the line; null without `costs` in the project file"
    )
    n_test_normal: int | None = Field(None, description="normal test images")
    n_test_anomalous: int | None = Field(None, description="defective test images")
    n_test_masked: int | None = Field(
        None, description="defective test images with a mask: those that pixel metrics are over"
    )

    seconds_per_image_p50: float | None = None
    seconds_per_image_p95: float | None = None
    bank_rows: int | None = None
    bank_bytes: int | None = None
    reasons: dict[str, str] = Field(default_factory=dict, description="why a metric has no value")
    warnings: int = Field(
        0, description="how many findings speak against its figures; the board has them in words"
    )

    def value(self, key: str) -> Any:
        """A field by its published name.

        Args:
            key: e.g. ``aupro_0.3``; ``recall_interval`` is that of the recall, ``test_images`` how many normal and
                defective ones there are, as text.

        Returns:
            Its value; None for a metric that was not measured.
        """
        for known in (vars(self), self.metrics):  # first, as means ask for the figures of every cell
            if key in known:
                return known[key]
        if key == "test_images" and self.n_test_normal is not None:
            return f"{self.n_test_normal} + {self.n_test_anomalous}"
        return self.intervals.get(key.removesuffix("_interval")) if key.endswith("_interval") else None

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics of images and pixels by name."""
        return self.__pydantic_extra__ or {}

    @property
    def category_key(self) -> str:
        """``dataset/category``."""
        return f"{self.dataset}/{self.category}"

    @property
    def measured(self) -> tuple[str, ...]:
        """The published names of the figures that repeats are averaged over."""
        return (*self.metrics, *OTHER_METRICS)

    @model_validator(mode="before")
    @classmethod
    def _with_every_metric(cls, values: Any) -> Any:
        return dict.fromkeys(board_metrics()) | values if isinstance(values, dict) else values

    @model_serializer(mode="wrap")
    def _in_published_order(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = fields(self)
        return {name: found[name] for name in published_fields()} | found


OTHER_METRICS = tuple(name for name in LeaderboardRow.model_fields if find(name))
"""The metrics of a row that are not of images or pixels: its operating point and its cost."""


def published_fields() -> tuple[str, ...]:
    """The fields that every row has, in their published order: metrics before thresholds, the image AUROC first,
    what is known of it behind it.
    """
    fields = list(LeaderboardRow.model_fields)
    auroc, thresholds = fields.index("image_auroc_interval"), fields.index("threshold")
    others = (name for name in board_metrics() if name != "image_auroc")
    return (*fields[:auroc], "image_auroc", *fields[auroc:thresholds], *others, *fields[thresholds:])
