"""What the report's sliders over both thresholds need to know of a cell: a value per test image, nothing of its pixels.

The page counts; what is hard to compute, the exact intervals of rates, it looks up in tables from here. So it says the
same as ``metrics.thresholds.costs``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from uad_orchestrator.metrics.bootstrap import Interval
from uad_orchestrator.metrics.intervals import rate_interval
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.reporting.cases import ScoredImage


@dataclass
class RateTables:
    """The exact intervals of all rates that a page may show, by the number of images they are of.

    Attributes:
        of: number of images -> for each count 0 to that number the ends of its interval.
    """

    of: dict[int, list[Interval]] = field(default_factory=dict)

    def need(self, images: int) -> None:
        """The page shows rates of so many images."""
        if images and images not in self.of:
            self.of[images] = [rate_interval(count, images) for count in range(images + 1)]


def slider_data(
    report: MetricsReport, scores: Sequence[ScoredImage], maxima: Mapping[str, float], tables: RateTables
) -> dict[str, Any] | None:
    """The labelled test images of a cell, as JSON values.

    Args:
        report: of the cell; its thresholds are where the sliders stand at first.
        scores: its score table.
        maxima: the largest value of each test image's map, by image; empty where there are no maps.
        tables: gets the intervals that the cell's rates need.

    Returns:
        ``images`` (name, defect type, label), and under ``image`` and ``pixel`` the values in the same order, the
        threshold in use and, of ``image``, where review begins; None without test images.
    """
    tested = [row for row in scores if row.role == "test"]
    if not tested:
        return None
    for label in (0, 1):
        tables.need(sum(row.label == label for row in tested))
    review = None if report.review is None else report.review.threshold
    data: dict[str, Any] = {
        "category": f"{report.dataset}/{report.category}",
        "detector": report.detector,
        "images": [[row.image, row.defect_type, row.label] for row in tested],
        "image": {
            "values": [_finite(row.score) for row in tested],
            "threshold": report.image_operating_point.threshold,
            "review": review,
        },
    }
    if all(row.image in maxima for row in tested):
        data["pixel"] = {
            "values": [_finite(maxima[row.image]) for row in tested],
            "threshold": report.pixel_operating_point.threshold,
            "review": None,
        }
    return data


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a score of {value}: the report shows finite ones")
    return float(value)
