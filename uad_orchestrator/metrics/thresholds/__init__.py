"""Thresholds: calibrated on normals or chosen by people, what they promise, cost and decide."""

from uad_orchestrator.metrics.thresholds.calibration import (
    CALIBRATION_VERSION,
    at_false_positive_rate,
    calibrate,
    checked_contamination,
    exceeds,
    held_out_rate,
    pinned_point,
)

__all__ = [
    "CALIBRATION_VERSION",
    "at_false_positive_rate",
    "calibrate",
    "checked_contamination",
    "exceeds",
    "held_out_rate",
    "pinned_point",
]
