"""The detectors: fit -> state, respond -> image score and patch grid, map; scikit-learn's manners on top."""

from uad_orchestrator.detectors.create import build_detector, create_detector
from uad_orchestrator.detectors.protocol.spec import DetectorSpec
from uad_orchestrator.detectors.registry import DETECTORS

__all__ = ["DETECTORS", "DetectorSpec", "build_detector", "create_detector"]
