"""Detectors on images as they come: large ones in tiles."""

from uad_orchestrator.detectors.tiled import TiledDetector
from uad_orchestrator.images.tiles import iter_tiles

__all__ = ["TiledDetector", "iter_tiles"]
