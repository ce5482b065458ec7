"""A folder of normals that a checkpoint has not seen, to calibrate on."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import Scan, is_folder, list_images
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.source import ImageSource


def calibration_files(folder: Path) -> list[Path]:
    """The images of a calibration folder, by name.

    Raises:
        DatasetError: there is no such folder, it is empty, or something in it is no image.
    """
    if not is_folder(folder):
        raise DatasetError(f"calibration.folder: there is no folder {folder}; expected one of normal images")
    scan = Scan()
    names = list_images(scan, folder.parent, folder.name)
    if scan.problems:
        raise DatasetError(f"calibration.folder: {folder} cannot be calibrated on:", scan.problems)
    return [folder.parent / name for name in names]


def calibration_sources(folder: Path, reading: ReadingSettings = PLAIN_READING) -> list[ImageSource]:
    """The same as sources, called ``calibration/<file>``, read like the dataset's images."""
    return [
        ImageSource.from_path(path, name=f"calibration/{path.name}", reading=reading)
        for path in calibration_files(folder)
    ]
