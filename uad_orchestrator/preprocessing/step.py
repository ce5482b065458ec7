"""What every step of a preset is: its word in the project file, its version and its parameters."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class StepSettings(BaseModel):
    """One step of a preset, with every parameter that decides what it does.

    ``STEP`` is the step's word in the project file; ``VERSION`` rises when the same parameters give other
    pixels than before, and is part of the recipe. ``CHANGES_PIXELS`` is False where the image stays as it is
    and the step only says which part of it counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    STEP: ClassVar[str]
    VERSION: ClassVar[int] = 1
    CHANGES_PIXELS: ClassVar[bool] = True

    def recipe(self) -> dict[str, Any]:
        """What the step does, as part of a version.

        Returns:
            Its word, version and parameters, as JSON values.
        """
        return {"step": self.STEP, "version": self.VERSION, **self.model_dump(mode="json")}
