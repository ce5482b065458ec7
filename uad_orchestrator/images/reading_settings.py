"""How image files are read where they do not say it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

AlphaRule = Literal["ignore", "white", "mask"]
"""What becomes of pixels that an alpha channel hides: shown as they lie under it, on white, or blackened."""

MAX_MEGAPIXELS = 180.0
"""Larger images are refused unless the settings say more: some 0.5 GB of 8-bit RGB."""

MAX_SIDE = 2**20
"""Pixels along a side, whatever the settings say: OpenCV reads no more."""

MAX_ASPECT = 100
"""How many times an image may be as long as it is wide: an embedder that keeps the aspect would blow up others."""


@dataclass(frozen=True)
class ReadingSettings:
    """How image files are read.

    Attributes:
        bit_depth: the bits that 16-bit files really hold (10, 12, 14 ...), low ones first, as cameras write them; None:
            what the file's format says. Values above are errors. Files of 8 bits have them all, whatever is said.
        value_range: the values of black and white; needed for files of floating point, and of integers of another size
            than 8 and 16 bits, which are errors without it: no one could say what is bright. Values outside are errors.
        alpha: what becomes of pixels that an alpha channel hides.
        max_megapixels: images with more pixels are errors, found from the header before anything is decoded.

    Raises:
        ValueError: a setting out of range, or both a depth and a range.

    >>> ReadingSettings(bit_depth=12).recipe()
    {'bit_depth': 12}
    >>> ReadingSettings(max_megapixels=400).recipe()
    {}
    """

    bit_depth: int | None = None
    value_range: tuple[float, float] | None = None
    alpha: AlphaRule = "ignore"
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        if self.bit_depth is not None and not 1 <= self.bit_depth <= 16:
            raise ValueError(f"bit_depth is {self.bit_depth}: it lies between 1 and 16")
        if self.value_range is not None:
            low, high = self.value_range
            if not (abs(low) < float("inf") and abs(high) < float("inf") and low < high):
                raise ValueError(f"value_range is {list(self.value_range)}: give [black, white], ascending")
            if self.bit_depth is not None:
                raise ValueError("value_range and bit_depth: give one of the two, each says what white is")
        if self.alpha not in ("ignore", "white", "mask"):
            raise ValueError(f"alpha is {self.alpha!r}: expected ignore, white or mask")
        if not self.max_megapixels > 0:
            raise ValueError(f"max_megapixels is {self.max_megapixels}: it is above 0")

    @property
    def says_white(self) -> bool:
        """Whether the settings say which value is white."""
        return self.bit_depth is not None or self.value_range is not None

    def recipe(self) -> dict[str, Any]:
        """What changes pixels, as JSON values, so that it can be part of a version; empty where all is as usual."""
        words: dict[str, Any] = {}
        if self.bit_depth is not None:
            words["bit_depth"] = self.bit_depth
        if self.value_range is not None:
            words["value_range"] = [float(value) for value in self.value_range]
        if self.alpha != "ignore":
            words["alpha"] = self.alpha
        return words

    def changed(self, bit_depth: int | None = None, max_megapixels: float | None = None) -> ReadingSettings:
        """The settings with what was said anew; a depth takes the place of a range.

        >>> ReadingSettings(value_range=(0, 1)).changed(bit_depth=12).recipe()
        {'bit_depth': 12}
        """
        changed = self if bit_depth is None else replace(self, bit_depth=bit_depth, value_range=None)
        return changed if max_megapixels is None else replace(changed, max_megapixels=max_megapixels)

    def to_json(self) -> dict[str, Any]:
        """What differs from the usual, as JSON values, which ``from_json`` takes."""
        limit = {} if self.max_megapixels == MAX_MEGAPIXELS else {"max_megapixels": self.max_megapixels}
        return {**self.recipe(), **limit}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReadingSettings:
        """What ``to_json`` gave.

        >>> ReadingSettings.from_json({"value_range": [0.0, 1.0]}).value_range
        (0.0, 1.0)
        """
        given = dict(values)
        if (ends := given.get("value_range")) is not None:
            given["value_range"] = (float(ends[0]), float(ends[1]))
        return cls(**given)


PLAIN_READING = ReadingSettings()
"""Files as they say themselves."""
