"""Presets: what is done to an image before it is embedded, and which part of it is inspected.

>>> preset = resolve_preset("industrial_fast")
>>> [step["step"] for step in preset.recipe()["steps"]]
['white_balance', 'illumination']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.preprocessing.resize import ResizeStep, Size
from uad_orchestrator.preprocessing.roi import Roi, inspected_pixels
from uad_orchestrator.preprocessing.settings import PresetSettings
from uad_orchestrator.preprocessing.step import StepSettings
from uad_orchestrator.spelling import choose_from

SHIPPED_PRESETS: Mapping[str, PresetSettings] = {
    "plain": PresetSettings(),
    "industrial_camera_robust": PresetSettings.model_validate(
        [{"white_balance": "gray_world"}, {"illumination": "homomorphic"}]
    ),
    "industrial_fast": PresetSettings.model_validate(
        [
            {"white_balance": "gray_world"},
            {"illumination": {"method": "contrast_stretch", "low": 0.5, "high": 99.5}},
        ]
    ),
}
"""Presets every project has. A preset of the project file with the same name takes precedence."""


@dataclass(frozen=True)
class Preset:
    """An ordered list of steps, resolved to its last parameter.

    Attributes:
        name: what the project file calls it; not part of the recipe, so renaming recomputes nothing.
        steps: each step's settings.
    """

    name: str
    steps: tuple[StepSettings, ...] = ()

    def recipe(self) -> dict[str, Any]:
        """Everything that decides scores and metrics.

        Returns:
            The steps with versions and all parameters, as JSON values.

        Raises:
            ImageError: the mask image of a ``roi`` step cannot be read.
        """
        return {"steps": [step.recipe() for step in self.steps]}

    def pixel_recipe(self) -> dict[str, Any]:
        """What decides the pixels alone: another region of interest makes no other embeddings.

        Returns:
            As ``recipe``, without the steps that leave pixels as they are.
        """
        return {"steps": [step.recipe() for step in self._pixel_steps]}

    def apply(self, image: RgbImage) -> RgbImage:
        """The image after all steps; the input is untouched.

        Steps hand each other float32 in [0, 1]; values are rounded and clipped once, at the end.

        Args:
            image: ``(H, W, 3)`` RGB, uint8 or uint16.

        Returns:
            ``(h, w, 3)`` of ``size_after``, of the same dtype.

        Raises:
            ValueError: the image is not ``(H, W, 3)`` uint8 or uint16.
        """
        from uad_orchestrator.preprocessing.steps import apply_step, from_unit, to_unit

        unit = to_unit(image)
        if not self._pixel_steps:
            return image
        for step in self._pixel_steps:
            unit = apply_step(step, unit)
        return from_unit(unit, image.dtype)

    def size_after(self, size: Size) -> Size:
        """The size that ``apply`` gives an image.

        Every step stretches the whole image onto the whole canvas, so that both sizes together bring a place
        on the canvas back to the image.

        Args:
            size: ``(H, W)`` of the image.

        Returns:
            ``(h, w)`` after all steps.
        """
        for step in self.steps:
            size = step.size_after(size) if isinstance(step, ResizeStep) else size
        return size

    @property
    def has_roi(self) -> bool:
        """Whether only a part of the image is inspected."""
        return any(isinstance(step, Roi) for step in self.steps)

    def inspected(self, size: Size) -> np.ndarray | None:
        """Where the ``roi`` steps let an original image be inspected.

        Args:
            size: ``(H, W)`` of the image.

        Returns:
            ``(H, W)`` bool; None where there is no such step: everywhere.

        Raises:
            ValueError: a region reaches beyond the image, a mask is of another size, or nothing is left.
        """
        return inspected_pixels([step for step in self.steps if isinstance(step, Roi)], size)

    @property
    def _pixel_steps(self) -> tuple[StepSettings, ...]:
        return tuple(step for step in self.steps if step.CHANGES_PIXELS)


def resolve_preset(name: str, project_presets: Mapping[str, Any] | None = None) -> Preset:
    """The preset of that name: the project's own, else a shipped one.

    Args:
        name: e.g. ``industrial_camera_robust``.
        project_presets: name -> ``PresetSettings``, or the list of steps as the project file writes it.

    Returns:
        The preset, with every default filled in.

    Raises:
        ValueError: no preset has that name (says the nearest one), or one of its steps is invalid.
    """
    presets = {**SHIPPED_PRESETS, **(project_presets or {})}
    if name not in presets:
        raise ValueError(f"unknown preset {name!r}; {choose_from(name, presets)}")
    return Preset(name, PresetSettings.model_validate(presets[name]).steps)
