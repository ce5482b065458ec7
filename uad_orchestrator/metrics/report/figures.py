"""What the parts of a metrics report are made of: figures that may be undefined, with reasons and intervals."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def nan_as_none(value: Any) -> Any:
    """NaN becomes None; infinities, which JSON does not know, are refused."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    raise ValueError("an infinite figure cannot be reported; expected a finite number, or NaN with a reason")


def finite_or_none(value: float | None) -> float | None:
    """A figure as JSON takes it: NaN and infinities are null."""
    return None if value is None or not math.isfinite(value) else float(value)


Figure = Annotated[float | None, BeforeValidator(nan_as_none)]
"""A finite number; None where it is undefined. NaN is read as None."""


class Part(BaseModel):
    """Strict and frozen: unknown fields are refused, and a report is never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WithReasons(Part):
    """Figures that may be undefined, each None with its reason under the figure's name."""

    reasons: dict[str, str] = Field(default_factory=dict, description="for each figure that is null, why")

    def figures(self) -> dict[str, float | None]:
        """The figures that need a reason when they are None."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _every_null_has_a_reason(self) -> Self:
        figures, reasons = self.figures(), self.reasons
        if missing := [name for name, value in figures.items() if value is None and name not in reasons]:
            raise ValueError(f"no reason is given for the undefined {', '.join(sorted(missing))}")
        if needless := [name for name in reasons if figures.get(name) is not None]:
            raise ValueError(f"a reason is given for {', '.join(sorted(needless))}, which is defined")
        return self


class IntervalReport(Part):
    """Where a figure may lie on other test images of the same kind, given how few there are."""

    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    method: str
    n_normal: float = Field(
        ge=0, description="normal images it rests on; 0 where the figure is not of normal images"
    )
    n_anomalous: float = Field(
        ge=0,
        description="anomalous images likewise; of a mean over kinds as many as would tell the same if all were of one",
    )


Intervals = Annotated[
    dict[str, IntervalReport],
    Field(default_factory=dict, description="by the figure's name; one that has no interval is not there"),
]
