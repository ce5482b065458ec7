"""All that a metrics report holds of a cell, and how it is written and read."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from uad_orchestrator.metrics.catalogue import find
from uad_orchestrator.metrics.report.figures import Figure, IntervalReport, Intervals, Part, WithReasons
from uad_orchestrator.metrics.report.points import OperatingPointReport, ReviewReport, SegmentationReport

SCHEMA_VERSION = 5
_SINCE: dict[int, dict[str, Any]] = {
    2: {"unlabelled": [], "segmentation": None, "roi": None},
    3: {"without_mask": []},
    5: {"review": None},
}
"""What each version added, with what an older report says of it: nothing of the kind was there."""
_INTERVALS_HOLD = 4
"""Since then; those of older reports covered too seldom, and are not read."""


class Counts(Part):
    """How many images took which part."""

    n_train: int = Field(ge=0, description="normals the detector was fitted on")
    n_validation: int = Field(ge=0, description="published held-out normals")
    n_calibration: int = Field(ge=0, description="normals the operating points were taken from")
    n_test_normal: int = Field(ge=0)
    n_test_anomalous: int = Field(ge=0)
    n_test_masked: int | None = Field(
        None,
        ge=0,
        description="anomalous images with a mask: those that pixel metrics are over; null in an older report: all",
    )


class DefectReport(WithReasons):
    """One defect type against all normal test images."""

    defect_type: str
    n: int = Field(ge=1, description="anomalous images of this type")
    metrics: dict[str, Figure] = Field(
        description="those of images and pixels that metrics.catalogue takes per defect type, and the recall"
    )
    intervals: Intervals

    def figures(self) -> dict[str, float | None]:
        return dict(self.metrics)


class UnlabelledSplit(Part):
    """A test split that is scored and has maps, but no metrics."""

    split: str
    n: int = Field(ge=1, description="images")
    reason: str = "no ground truth published"


class Timings(WithReasons):
    """Where the time went. All in seconds of wall time."""

    fit_seconds: Figure
    score_seconds: Figure
    maps_seconds: Figure
    metrics_seconds: Figure
    seconds_per_image_p50: Figure
    seconds_per_image_p95: Figure

    def figures(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in type(self).model_fields if name != "reasons"}


class BankReport(WithReasons):
    """The memory bank: its size, and how far the training patches lie from it (None without a coreset)."""

    rows: int = Field(ge=0)
    dimension: int = Field(ge=0)
    bytes: int = Field(ge=0)
    coverage_max: Figure
    coverage_p99: Figure
    coverage_mean: Figure

    def figures(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in ("coverage_max", "coverage_p99", "coverage_mean")}


class RoiReport(Part):
    """What the region of interest of the detector's preset did to the pixel metrics."""

    pixels: Literal["excluded", "included"] = Field(description="those outside, in the pixel metrics")
    regions_outside: dict[str, int] = Field(
        description="test image -> its defect regions that lie wholly outside: no detector could find them here"
    )


class Runtime(Part):
    """Where it ran: recorded, never part of a version."""

    device: str
    batch_size: int
    workers: int
    host: str


class MetricsReport(WithReasons):
    """Everything known about one cell: dataset x category x detector.

    Its fields are described where they stand; units are in their names. ``to_json`` and ``from_json`` are metrics.json.

    Attributes:
        schema_version: of metrics.json.
        dataset: of the cell.
        category: of the cell, within its dataset.
        detector: of the cell, by its name in uad.yaml.
        model: the detector's, ``vision_...``.
        counts: how many images there are of each kind.
        per_defect: the metrics of each defect type, against all normal test images.
        image_operating_point: the image threshold, and what it does to the test images.
        pixel_operating_point: the pixel threshold, and what it does to their pixels.
        timings: where the time went.
        bank: the memory bank's size.
        seeds: those used, by stage.
        runtime: where it ran; never part of a version.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or infinite, or an undefined figure has no reason.
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    category: str
    detector: str
    model: str
    counts: Counts
    metrics: dict[str, Figure] = Field(
        description="those of images and pixels: see metrics.catalogue for what is always there, and what is "
        "only where the protocol asks for it"
    )
    intervals: dict[str, IntervalReport] = Field(
        description="of the metrics, by name; one that has no interval is not there: see metrics.intervals"
    )
    per_defect: list[DefectReport]
    without_mask: list[str] = Field(description="defective images that the pixel metrics leave out")
    unlabelled: list[UnlabelledSplit] = Field(description="scored splits that no metric is taken of")
    image_operating_point: OperatingPointReport
    pixel_operating_point: OperatingPointReport
    segmentation: SegmentationReport | None = Field(
        description="where SegF1 is taken; null where the protocol does not ask for it"
    )
    review: ReviewReport | None = Field(description="the grey zone; null where the detector has no `review`")
    timings: Timings
    bank: BankReport
    roi: RoiReport | None = Field(description="None: whole images are inspected")
    seeds: dict[str, int]
    versions: dict[str, str] = Field(description="asset -> version")
    packages: dict[str, str] = Field(description="package -> version")
    runtime: Runtime

    def figures(self) -> dict[str, float | None]:
        """The metrics of images and pixels.

        Returns:
            their values by name; None where undefined.
        """
        return dict(self.metrics)

    def value(self, name: str) -> float | None:
        """A figure by its name in ``metrics.catalogue``, wherever in the report it stands.

        Args:
            name: e.g. ``aupro_0.3`` or ``recall``.

        Returns:
            its value; None if undefined.

        Raises:
            KeyError: no such metric is known, or none of this name was measured.
        """
        metric = find(name)
        if metric is None or metric.scope in ("image", "pixel"):
            return self.metrics[name]
        if metric.scope == "operating point":
            return self.image_operating_point.figures()[name]
        if metric.scope == "review":
            return None if self.review is None else self.review.shares()[name]
        if metric.scope != "cost":
            raise KeyError(name)
        of_bank = name.removeprefix("bank_")
        return getattr(self.timings, name) if of_bank == name else getattr(self.bank, of_bank)

    def interval(self, name: str) -> IntervalReport | None:
        """The interval of a figure, wherever in the report it stands.

        Args:
            name: as for ``value``.

        Returns:
            the interval; None where it has none.
        """
        return self.every_interval().get(name)

    def every_interval(self) -> dict[str, IntervalReport]:
        """The intervals of all figures, wherever in the report they stand.

        Returns:
            them by the figures' names.
        """
        of_review = {} if self.review is None else self.review.intervals
        return self.image_operating_point.intervals | self.intervals | of_review

    @model_validator(mode="before")
    @classmethod
    def _from_older_schema(cls, values: Any) -> Any:
        version = values.get("schema_version", SCHEMA_VERSION) if isinstance(values, dict) else SCHEMA_VERSION
        if version not in range(1, SCHEMA_VERSION):
            return values
        added = {
            name: value for since, new in _SINCE.items() if since > version for name, value in new.items()
        }
        if version < _INTERVALS_HOLD:
            values = {**values, "intervals": {}}
        return {**added, **values, "schema_version": SCHEMA_VERSION}

    @model_validator(mode="after")
    def _known_schema(self) -> Self:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"metrics.json has schema_version {self.schema_version}, this version reads "
                f"{SCHEMA_VERSION}: run `uad refresh` to write it anew"
            )
        return self

    def to_json(self) -> str:
        """The report as it is stored.

        Returns:
            indented JSON: strict (no NaN), keys in the schema's order, a newline at the end.
        """
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> MetricsReport:
        """Read what ``to_json`` wrote, reports of older schemas too.

        Args:
            text: the content of a metrics.json.

        Returns:
            the report.

        Raises:
            pydantic.ValidationError: a field is missing, unknown or of the wrong kind; it names the field.
        """
        return cls.model_validate_json(text)
