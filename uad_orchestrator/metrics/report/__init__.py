"""``MetricsReport``: the one schema of metrics.json, the same on every path and always complete.

A figure that cannot be computed is ``null`` and has its reason beside it; a field is never left out.
"""

from uad_orchestrator.metrics.report.figures import IntervalReport
from uad_orchestrator.metrics.report.metrics_report import (
    SCHEMA_VERSION,
    BankReport,
    Counts,
    DefectReport,
    MetricsReport,
    RoiReport,
    Runtime,
    Timings,
    UnlabelledSplit,
)
from uad_orchestrator.metrics.report.points import OperatingPointReport, ReviewReport, SegmentationReport

__all__ = [
    "SCHEMA_VERSION",
    "BankReport",
    "Counts",
    "DefectReport",
    "IntervalReport",
    "MetricsReport",
    "OperatingPointReport",
    "ReviewReport",
    "RoiReport",
    "Runtime",
    "SegmentationReport",
    "Timings",
    "UnlabelledSplit",
]
