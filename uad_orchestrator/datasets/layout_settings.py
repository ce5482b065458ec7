"""The keys of a ``datasets:`` entry: those of every dataset, and those that its layout adds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

DATASET_KEYS = frozenset(
    (
        *("layout", "root", "categories", "exclude", "incoming", "masks", "leaks"),
        *("bit_depth", "value_range", "alpha"),
    )
)
"""The keys of an entry that every dataset has."""


class LayoutSettings(BaseModel):
    """The keys that a layout adds to its ``datasets:`` entry: none, unless it derives a model with fields.

    Paths in it are best relative to the dataset's root: a layout is not told where the project file lies.

    >>> class TwoFolders(LayoutSettings):
    ...     good_folder: str = "good"
    >>> TwoFolders(good_folder="ok").good_folder
    'ok'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
