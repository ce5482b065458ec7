"""The maps of a category, as every export takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uad_orchestrator.datasets.manifest import ImageRecord, Manifest
from uad_orchestrator.datasets.problems import with_faults
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.map_set import MapSet

Progress = Callable[[str, int, int], None]
"""Called with (category, files written, files in all)."""


class ExportError(ValueError):
    """What stands against an export; the message has the first twenty faults.

    Args:
        summary: the message's first line.
        faults: every fault; kept as the attribute of that name.
    """

    def __init__(self, summary: str, faults: Sequence[str] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(with_faults(summary, self.faults))


@dataclass(frozen=True)
class CategoryMaps:
    """A category's images with their anomaly maps.

    Attributes:
        manifest: its images.
        maps: their maps.
        pixel_point: the calibrated threshold of the maps.
        version: of the artifact the maps lie in; recorded with every export.
    """

    manifest: Manifest
    maps: MapSet
    pixel_point: OperatingPoint
    version: str

    def path(self, record: ImageRecord) -> Path:
        """Where an image's map lies: below its defect type, or below its split if it has no label.

        Args:
            record: one of the manifest.

        Returns:
            The TIFF's path, whether it is there or not.
        """
        return self.maps.path(record.path, record.defect_type if record.split == "test" else record.split)

    def missing(self, records: Sequence[ImageRecord]) -> list[str]:
        """The images without a map.

        Args:
            records: of the manifest.

        Returns:
            A fault for each, with its path.
        """
        return [f"{record.path}: no anomaly map" for record in records if not self.path(record).is_file()]
