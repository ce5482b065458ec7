"""What happens to images before they are embedded: presets, augmented views for fitting, camera drift for testing.

A preset is an ordered list of steps, resolved to its last parameter; its recipe is part of every version that
depends on it.
"""

from uad_orchestrator.preprocessing.augmentation import Augmentation, AugmentSettings
from uad_orchestrator.preprocessing.drift import Drift, DriftKind, drifted
from uad_orchestrator.preprocessing.presets import SHIPPED_PRESETS, Preset, resolve_preset
from uad_orchestrator.preprocessing.settings import PresetSettings, parse_step
from uad_orchestrator.preprocessing.step import StepSettings

__all__ = [
    "SHIPPED_PRESETS",
    "AugmentSettings",
    "Augmentation",
    "Drift",
    "DriftKind",
    "Preset",
    "PresetSettings",
    "StepSettings",
    "drifted",
    "parse_step",
    "resolve_preset",
]
