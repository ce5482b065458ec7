"""The ``presets:`` entry of the project file: named lists of steps.

A step is written as ``{white_balance: gray_world}``, ``{illumination: {method: gamma, gamma: 1.2}}`` or just
``denoise``. Each method has its own settings model, so a parameter that the chosen method does not read is an
error instead of a setting that does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from uad_orchestrator.preprocessing.resize import ResizeScale, ResizeShorterEdge, ResizeSquash
from uad_orchestrator.preprocessing.roi import RoiMask, RoiPolygon, RoiRectangle
from uad_orchestrator.preprocessing.step import StepSettings
from uad_orchestrator.spelling import choose_from


class GrayWorld(StepSettings):
    """Channels are scaled so that their means agree (Buchsbaum 1980)."""

    STEP = "white_balance"
    method: Literal["gray_world"] = "gray_world"


class MaxRgb(StepSettings):
    """Channels are scaled so that their brightest pixels agree (white-patch Retinex, Land 1977)."""

    STEP = "white_balance"
    method: Literal["max_rgb"] = "max_rgb"
    percentile: float = Field(99.0, gt=0, le=100, description="what counts as brightest; 100: the maximum")


class Homomorphic(StepSettings):
    """Log luminance is split into slow illumination and reflectance; illumination is damped."""

    STEP = "illumination"
    method: Literal["homomorphic"] = "homomorphic"
    cutoff: float = Field(0.25, gt=0, le=1, description="Gaussian sigma as a share of the shorter edge")
    low_gain: float = Field(0.5, ge=0, le=2, description="gain of the illumination; 0 removes it, 1 keeps it")
    high_gain: float = Field(1.0, ge=0, le=4, description="gain of the reflectance (detail)")


class Clahe(StepSettings):
    """Contrast-limited adaptive histogram equalisation of the luminance (Zuiderveld 1994)."""

    STEP = "illumination"
    method: Literal["clahe"] = "clahe"
    clip_limit: float = Field(2.0, gt=0, description="limit of the local contrast")
    tiles: int = Field(8, ge=1, le=64, description="tiles per side")


class Gamma(StepSettings):
    """``out = in ** gamma`` on values in [0, 1]: below 1 brightens, above 1 darkens."""

    STEP = "illumination"
    method: Literal["gamma"] = "gamma"
    gamma: float = Field(1.0, gt=0, le=10)


class ContrastStretch(StepSettings):
    """Luminance percentiles are stretched to the full range, all channels alike."""

    STEP = "illumination"
    method: Literal["contrast_stretch"] = "contrast_stretch"
    low: float = Field(1.0, ge=0, lt=100, description="percentile that becomes black")
    high: float = Field(99.0, gt=0, le=100, description="percentile that becomes full scale")

    @model_validator(mode="after")
    def _ordered(self) -> ContrastStretch:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self


class GaussianDenoise(StepSettings):
    """Gaussian blur."""

    STEP = "denoise"
    method: Literal["gaussian"] = "gaussian"
    sigma: float = Field(1.0, gt=0, le=50, description="in pixels")


class MedianDenoise(StepSettings):
    """Median filter: removes salt and pepper, keeps edges."""

    STEP = "denoise"
    method: Literal["median"] = "median"
    size: Literal[3, 5] = Field(3, description="side of the window in pixels")


class BilateralDenoise(StepSettings):
    """Bilateral filter: smooths noise, keeps edges above ``sigma_color``."""

    STEP = "denoise"
    method: Literal["bilateral"] = "bilateral"
    sigma_color: float = Field(
        0.1, gt=0, le=1, description="difference that counts as an edge, of full scale"
    )
    sigma_space: float = Field(2.0, gt=0, le=20, description="in pixels")


class ColorSpace(StepSettings):
    """``gray``: luminance in all three channels; ``lab``: CIE L*a*b* scaled to the range of the dtype."""

    STEP = "color_space"
    method: Literal["gray", "lab"] = "gray"


STEP_METHODS: dict[str, dict[str, type[StepSettings]]] = {
    "white_balance": {"gray_world": GrayWorld, "max_rgb": MaxRgb},
    "illumination": {
        "homomorphic": Homomorphic,
        "clahe": Clahe,
        "gamma": Gamma,
        "contrast_stretch": ContrastStretch,
    },
    "denoise": {"gaussian": GaussianDenoise, "median": MedianDenoise, "bilateral": BilateralDenoise},
    "color_space": {"gray": ColorSpace, "lab": ColorSpace},
    "resize": {"scale": ResizeScale, "shorter_edge": ResizeShorterEdge, "squash": ResizeSquash},
    "roi": {"rectangle": RoiRectangle, "polygon": RoiPolygon, "mask": RoiMask},
}
"""Every step of the project file, each with its methods; the first is the default."""


class PresetSettings(BaseModel):
    """A preset as the project file writes it: a list of steps, applied in order.

    Attributes:
        steps: the settings of each.

    Example:
        >>> preset = PresetSettings.model_validate([{"illumination": {"method": "gamma", "gamma": 1.2}}])
        >>> preset.steps[0]
        Gamma(method='gamma', gamma=1.2)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[SerializeAsAny[StepSettings], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, cls):
            return value
        entries = value.get("steps", ()) if isinstance(value, Mapping) and set(value) <= {"steps"} else value
        if not isinstance(entries, list | tuple):
            raise ValueError(f"a preset is a list of steps, not {value!r}")
        return {"steps": tuple(_numbered_step(number, entry) for number, entry in enumerate(entries, 1))}

    def located(self, home: Path) -> PresetSettings:
        """The preset with the paths of its mask images made absolute.

        Args:
            home: the folder of the project file, which relative paths start from.

        Returns:
            A copy.
        """
        return PresetSettings(
            steps=tuple(
                step.model_copy(update={"path": home / step.path.expanduser()})
                if isinstance(step, RoiMask)
                else step
                for step in self.steps
            )
        )


def parse_step(entry: Any) -> StepSettings:
    """One entry of a preset's list as its settings.

    Args:
        entry: ``"denoise"``, ``{"denoise": "median"}``, ``{"denoise": {"method": "median", "size": 5}}`` or
            settings already parsed.

    Returns:
        The step's settings, with every default filled in.

    Raises:
        ValueError: an unknown step, method or parameter (with the nearest valid word), or a value that is
            not allowed.

    Example:
        >>> parse_step({"denoise": "median"})
        MedianDenoise(method='median', size=3)
    """
    if isinstance(entry, StepSettings):
        return entry
    step, parameters = _step_and_parameters(entry)
    methods = STEP_METHODS[step]
    method = parameters.get("method", next(iter(methods)))
    if not isinstance(method, str) or method not in methods:
        raise ValueError(f"{step}: unknown method {method!r}; {choose_from(method, methods)}")
    model = methods[method]
    if unknown := sorted(str(name) for name in parameters if name not in model.model_fields):
        raise ValueError(f"{step} ({method}): {_unknown_parameter(unknown[0], model, methods)}")
    try:
        return model.model_validate({**parameters, "method": method})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or method}: {e['msg']}, got {e['input']!r}"
            for e in error.errors()
        )
        raise ValueError(f"{step} ({method}): {problems}") from None


def _numbered_step(number: int, entry: Any) -> StepSettings:
    try:
        return parse_step(entry)
    except ValueError as error:
        raise ValueError(f"step {number}: {error}") from None


def _step_and_parameters(entry: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        step, value = entry, None
    elif isinstance(entry, Mapping) and len(entry) == 1:
        step, value = next(iter(entry.items()))
    else:
        raise ValueError(f"a step is written as `{{white_balance: gray_world}}` or `denoise`, not {entry!r}")
    if step == "augment":
        raise ValueError("'augment' is no step of a preset: it stands with a detector, for fitting alone")
    if step not in STEP_METHODS:
        raise ValueError(f"unknown step {step!r}; {choose_from(step, STEP_METHODS)}")
    if value is None:
        return step, {}
    if isinstance(value, str):
        return step, {"method": value}
    if isinstance(value, Mapping):
        return step, dict(value)
    raise ValueError(f"{step}: expected a method's name or a mapping with `method`, got {value!r}")


def _unknown_parameter(
    name: str, model: type[StepSettings], methods: Mapping[str, type[StepSettings]]
) -> str:
    owners = [
        method for method, other in methods.items() if name in other.model_fields and other is not model
    ]
    if owners:
        return f"{name!r} belongs to method {owners[0]!r}: write `method: {owners[0]}` beside it"
    return f"unknown parameter {name!r}; {choose_from(name, model.model_fields)}"
