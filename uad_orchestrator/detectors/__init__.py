"""The detectors: fit -> state, respond -> image score and patch grid, map; scikit-learn's manners on top."""

from uad_orchestrator.detectors.registry import DETECTORS, DetectorSpec, build_detector, create_detector

__all__ = ["DETECTORS", "DetectorSpec", "build_detector", "create_detector"]
