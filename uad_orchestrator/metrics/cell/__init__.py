"""All that is measured of one cell: figures of images and pixels, their intervals, what each threshold does."""

from uad_orchestrator.metrics.cell.evaluation import METRICS_VERSION, CellMetrics, evaluate_cell
from uad_orchestrator.metrics.cell.point_reports import Thresholds

__all__ = ["METRICS_VERSION", "CellMetrics", "Thresholds", "evaluate_cell"]
