"""Metrics: pixel counts and their curves, image scores, regions, thresholds, and the report they end in."""

from uad_orchestrator.metrics.image_metrics import (
    ImageMetrics,
    ThresholdMetrics,
    image_metrics,
    threshold_metrics,
)
from uad_orchestrator.metrics.pixel_counts import PixelCounts
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.metrics.thresholds import OperatingPoint, calibrate

__all__ = [
    "ImageMetrics",
    "MetricsReport",
    "OperatingPoint",
    "PixelCounts",
    "ThresholdMetrics",
    "calibrate",
    "image_metrics",
    "threshold_metrics",
]
