"""The thresholds of a metrics report, what they do to the test images, and the grey zone."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from uad_orchestrator.metrics.report.figures import Figure, Intervals, WithReasons, nan_as_none
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, Pin


class AtThreshold(WithReasons):
    """A threshold from normals and where it comes from; what it does on the test images (or their pixels)."""

    threshold: Figure
    source: str
    n: int = Field(ge=0, description="normals it was taken from")
    precision: Figure
    recall: Figure
    f1: Figure
    iou: Figure
    false_positive_rate: Figure
    intervals: Intervals

    def figures(self) -> dict[str, float | None]:
        return {
            "threshold": self.threshold,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "iou": self.iou,
            "false_positive_rate": self.false_positive_rate,
        }


_PROMISING = {"threshold", "source", "n", "contamination"}


class OperatingPointReport(AtThreshold):
    """A calibrated threshold: a conformal quantile of normals' scores, or of the maxima of their maps."""

    contamination: float = Field(gt=0, lt=0.5, description="nominal false-positive rate")
    guaranteed_rate: Figure = Field(
        description="the chance, at most, that a new normal lies above the threshold"
    )
    false_positive_limit: Figure = Field(
        description="the rate that this threshold does not exceed, at 95 % confidence: the upper limit of Clopper and "
        "Pearson, from the normals that calibrate"
    )
    false_positive_rate_from: str | None = Field(
        None,
        description="the normals that the rate is of, where there are no good test images: each against the "
        "threshold that the others set",
    )
    pinned: Pin | None = Field(
        None, description="who chose the threshold instead of the calibrated one, when and why"
    )

    def figures(self) -> dict[str, float | None]:
        return super().figures() | self.promise

    @property
    def promise(self) -> dict[str, float | None]:
        """What the threshold promises of new normals, as ``OperatingPoint.promise``; None where nothing is."""
        return {"guaranteed_rate": self.guaranteed_rate, "false_positive_limit": self.false_positive_limit}

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_reports(cls, values: Any) -> Any:
        """What was not written yet follows from the source and the number of the normals."""
        if not isinstance(values, dict) or "guaranteed_rate" in values or not values.keys() >= _PROMISING:
            return values
        threshold = nan_as_none(values["threshold"])
        point = OperatingPoint.from_json(values | {"threshold": threshold})
        why = dict.fromkeys(point.promise, point.unguaranteed) if point.unguaranteed else {}
        return values | point.promise | {"reasons": {**values.get("reasons", {}), **why}}


class SegmentationReport(AtThreshold):
    """SegF1's threshold: mean + 3 std of the pixels of ``n`` maps of held-out normals."""


class ReviewReport(WithReasons):
    """The grey zone below the image threshold, whose parts a person looks at, and what lies in it."""

    from_fpr: float = Field(gt=0, lt=0.5, description="share of good parts, at most, at or beyond its begin")
    threshold: Figure = Field(description="above it review begins; it ends at the image threshold")
    source: str
    n: int = Field(ge=0, description="normals it was taken from")
    share_in_review: Figure = Field(description="of the good test images")
    defects_in_review: Figure = Field(description="share of the defective test images")
    intervals: Intervals

    def figures(self) -> dict[str, float | None]:
        """Its threshold, and the metrics of ``metrics.catalogue`` that are taken of it."""
        return {"threshold": self.threshold} | self.shares()

    def shares(self) -> dict[str, float | None]:
        """The metrics of ``metrics.catalogue`` that are taken of it."""
        return {"share_in_review": self.share_in_review, "defects_in_review": self.defects_in_review}
