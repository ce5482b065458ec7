"""Detectors at work on new images: ``infer``, large images in tiles, bundles to run where there is no project."""

from uad_orchestrator.detectors.tiled import TiledDetector
from uad_orchestrator.images.tiles import Tile, iter_tiles
from uad_orchestrator.inference.bundle import Bundle, BundleError, Calibration
from uad_orchestrator.inference.bundle_files import load_bundle, save_bundle
from uad_orchestrator.inference.infer import infer
from uad_orchestrator.inference.results import InferenceResult, InferenceTimings

__all__ = [
    "Bundle",
    "BundleError",
    "Calibration",
    "InferenceResult",
    "InferenceTimings",
    "Tile",
    "TiledDetector",
    "infer",
    "iter_tiles",
    "load_bundle",
    "save_bundle",
]
