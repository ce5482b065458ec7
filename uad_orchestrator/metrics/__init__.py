"""Metrics of anomaly detectors, as the evaluators of the public datasets take them.

What is public is named here; ``catalogue`` says of each metric what it is called, what it says and which way is better.

- image scores: ``image_metrics``, ``image_curves``, ``threshold_metrics``
- anomaly maps: ``PixelCounts`` (AUROC, AP, F1-max, AUPRO, sPRO), in threads with ``count_pixels``; ``NormalPixels``
  (AUPIMO)
- a whole cell under a dataset's protocol: ``evaluate_cell``, ``PROTOCOLS``, ``MetricsReport``
- thresholds from normal images: ``calibrate``, ``at_false_positive_rate``, ``exceeds``; normals that are none:
  ``odd_scores``
- thresholds from people, and what they cost on a line: ``Pin``, ``pinned_point``, ``Costs``, ``Outcome``,
  ``cheapest_threshold``; parts that a person looks at: ``decide``, ``review_from``
- how far a small test set can be trusted: ``auroc_interval``, ``rate_interval``, ``mean_auroc_interval``; which of two
  detectors is better: ``auroc_replicates``, ``interval``, ``within_noise``
"""

from uad_orchestrator.metrics.bootstrap import Interval, auroc_replicates, interval, within_noise
from uad_orchestrator.metrics.catalogue import METRICS, Metric
from uad_orchestrator.metrics.cell import CellMetrics, Thresholds, evaluate_cell
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.image_metrics import (
    ImageMetrics,
    ThresholdMetrics,
    image_curves,
    image_metrics,
    threshold_metrics,
)
from uad_orchestrator.metrics.intervals import (
    auroc_interval,
    interval_of_auroc,
    mean_auroc_interval,
    rate_interval,
)
from uad_orchestrator.metrics.pixels.counts import PixelCounts
from uad_orchestrator.metrics.pixels.in_threads import count_pixels
from uad_orchestrator.metrics.pixels.pimo import NormalPixels, SharedRates
from uad_orchestrator.metrics.pixels.spro import Channel, GroundTruth
from uad_orchestrator.metrics.pixels.statistics import ScoredImage
from uad_orchestrator.metrics.protocol import PROTOCOLS, EvaluationProtocol
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.metrics.thresholds import at_false_positive_rate, calibrate, exceeds, pinned_point
from uad_orchestrator.metrics.thresholds.costs import Costs, Outcome, cheapest_threshold
from uad_orchestrator.metrics.thresholds.decision import decide, review_from
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint, Pin, SegmentationPoint
from uad_orchestrator.metrics.thresholds.outliers import odd_scores

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "CellMetrics",
    "Channel",
    "Costs",
    "Curve",
    "EvaluationProtocol",
    "GroundTruth",
    "ImageMetrics",
    "Interval",
    "Metric",
    "MetricsReport",
    "NormalPixels",
    "OperatingPoint",
    "Outcome",
    "Pin",
    "PixelCounts",
    "ScoredImage",
    "SegmentationPoint",
    "SharedRates",
    "ThresholdMetrics",
    "Thresholds",
    "at_false_positive_rate",
    "auroc_interval",
    "auroc_replicates",
    "calibrate",
    "cheapest_threshold",
    "count_pixels",
    "decide",
    "evaluate_cell",
    "exceeds",
    "image_curves",
    "image_metrics",
    "interval",
    "interval_of_auroc",
    "mean_auroc_interval",
    "odd_scores",
    "pinned_point",
    "rate_interval",
    "review_from",
    "threshold_metrics",
    "within_noise",
]
