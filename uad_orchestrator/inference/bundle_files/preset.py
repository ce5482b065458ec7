"""The preset of a bundle: its steps as a project file has them, and the mask images they read beside them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uad_orchestrator.inference.bundle import BundleError
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.roi import RoiMask
from uad_orchestrator.preprocessing.settings import PresetSettings

MASKS = "masks"
"""The folder of the mask images, each called by the number of its step."""


def write_preset(preset: Preset, directory: Path) -> list[dict[str, Any]]:
    """The steps, as JSON values; mask images are copied into ``directory``, their paths relative to it.

    Raises:
        FileNotFoundError: a mask image is missing.
    """
    steps = []
    for number, step in enumerate(preset.steps):
        values = step.model_dump(mode="json")
        if isinstance(step, RoiMask):
            (directory / MASKS).mkdir(exist_ok=True)
            copy = Path(shutil.copyfile(step.path, directory / MASKS / f"{number}{step.path.suffix}"))
            values["path"] = copy.relative_to(directory).as_posix()
        steps.append({step.STEP: values})
    return steps


def read_preset(name: str, steps: Sequence[dict[str, Any]], directory: Path) -> Preset:
    """What ``write_preset`` wrote.

    Raises:
        BundleError: a step reads a mask image that is not the bundle's own.
        ValueError: a step, method or parameter is unknown.
    """
    preset = Preset(name, PresetSettings.model_validate(steps).located(directory).steps)
    for step in preset.steps:
        if isinstance(step, RoiMask) and step.path.parent != directory / MASKS:
            raise BundleError(
                f"{directory} is damaged: its preset names the mask image {step.path}, which does not lie in its "
                f"folder {MASKS}"
            )
    return preset
