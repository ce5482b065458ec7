"""What every section of the project file is, and the file's name."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

PROJECT_FILE = "uad.yaml"
"""``uad.yaml``, the name of the project file."""


class Section(BaseModel):
    """Strict and frozen: an unknown key is an error, a value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
