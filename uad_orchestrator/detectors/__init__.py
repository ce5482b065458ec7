"""The detectors: fit -> state, respond -> image score and patch grid, map; scikit-learn's manners on top.

``create_detector`` makes one from its settings. An own detector is a ``Detector`` with ``fit_state`` and ``respond``;
what is known of it without loading it is its ``DetectorSpec``, of which a package may bring more.
"""

from uad_orchestrator.detectors.create import build_detector, create_detector
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, EmbeddingStream
from uad_orchestrator.detectors.protocol.aggregation import Aggregation, aggregate
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import (
    CalibrationSettings,
    MapSettings,
    ScoringSettings,
    Settings,
)
from uad_orchestrator.detectors.protocol.spec import DetectorSpec, StageSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, fitted_images
from uad_orchestrator.detectors.registry import DETECTORS, detector_names, detector_spec
from uad_orchestrator.detectors.tiled import TiledDetector
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint

__all__ = [
    "DETECTORS",
    "Aggregation",
    "CalibrationSettings",
    "Detector",
    "DetectorSpec",
    "DetectorState",
    "EmbeddedImage",
    "EmbeddingStream",
    "MapSettings",
    "OperatingPoint",
    "Response",
    "ScoringSettings",
    "Settings",
    "StageSettings",
    "TiledDetector",
    "aggregate",
    "build_detector",
    "create_detector",
    "detector_names",
    "detector_spec",
    "fitted_images",
    "open_stream",
]
