"""Presets: what is done to an image's light and colour before it is embedded.

>>> preset = resolve_preset("industrial_fast")
>>> [step["step"] for step in preset.recipe()["steps"]]
['white_balance', 'illumination']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from uad_orchestrator.images.source import RgbImage
from uad_orchestrator.preprocessing.settings import PresetSettings, StepSettings

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
    """An ordered list of photometric steps, resolved to its last parameter.

    Attributes:
        name: what the project file calls it; not part of the recipe, so renaming recomputes nothing.
        steps: each step's settings.
    """

    name: str
    steps: tuple[StepSettings, ...] = ()

    def recipe(self) -> dict[str, Any]:
        """Everything that decides the pixels, as JSON values: steps with versions and all parameters."""
        return {"steps": [step.recipe() for step in self.steps]}

    def apply(self, image: RgbImage) -> RgbImage:
        """The image after all steps: same ``(H, W, 3)`` shape and dtype, the input untouched.

        Steps hand each other float32 in [0, 1]; values are rounded and clipped once, at the end.

        Raises:
            ValueError: the image is not ``(H, W, 3)`` uint8 or uint16.
        """
        from uad_orchestrator.preprocessing.steps import apply_step, from_unit, to_unit

        unit = to_unit(image)
        if not self.steps:
            return image
        for step in self.steps:
            unit = apply_step(step, unit)
        return from_unit(unit, image.dtype)


def resolve_preset(name: str, project_presets: Mapping[str, Any] | None = None) -> Preset:
    """The preset of that name: the project's own, else a shipped one.

    Args:
        name: e.g. ``industrial_camera_robust``.
        project_presets: name -> ``PresetSettings``, or the list of steps as the project file writes it.

    Raises:
        ValueError: no preset has that name (says the nearest one), or one of its steps is invalid.
    """
    presets = {**SHIPPED_PRESETS, **(project_presets or {})}
    if name not in presets:
        close = get_close_matches(name, presets, n=1)
        hint = f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(presets))}"
        raise ValueError(f"unknown preset {name!r}{hint}")
    return Preset(name, PresetSettings.model_validate(presets[name]).steps)
