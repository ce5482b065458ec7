"""What speaks against the figures of a cell, or of all cells of a category, though there are figures."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class CellWarning(BaseModel):
    """A finding for a person to judge.

    Attributes:
        category: its key, ``dataset/category``.
        detector: whose cell it is about; None: all of the category.
        check: which check found it.
        message: what is odd, and what to do.
        images: the files it is about, as the dataset names them.
    """

    model_config = ConfigDict(frozen=True)

    category: str
    detector: str | None = None
    check: str
    message: str
    images: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = self.category if self.detector is None else f"{self.category} x {self.detector}"
        return f"{where}: {self.check}: {self.message}"


def by_category(warnings: Iterable[CellWarning]) -> dict[str, list[CellWarning]]:
    """What is said of each category and its cells, by the category's key."""
    found: dict[str, list[CellWarning]] = {}
    for warning in warnings:
        found.setdefault(warning.category, []).append(warning)
    return found
