"""``defects_config.json`` of MVTec LOCO AD: what a channel's pixel value means, and how much of it must be found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.problems import DatasetError, DatasetProblem
from uad_orchestrator.storage.regular_file import read_regular

DEFECTS_CONFIG = "defects_config.json"
_KEYS = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")


@dataclass(frozen=True)
class DefectKind:
    """One entry of the file.

    Attributes:
        name: the defect's name.
        pixel_value: the value its pixels have in a channel's file, 1 to 255.
        saturation_threshold: the part of a place that must be covered: a share in (0, 1] of its area where
            ``relative_saturation``, else a number of pixels.
        relative_saturation: see there.
    """

    name: str
    pixel_value: int
    saturation_threshold: float
    relative_saturation: bool

    def saturation_area(self, area: int) -> int:
        """Pixels of a place of ``area`` pixels that must be covered, as the dataset's evaluator takes them.

        >>> DefectKind("hole", 255, 0.5, True).saturation_area(5)
        2
        >>> DefectKind("missing screw", 254, 100, False).saturation_area(40)
        40
        """
        if self.relative_saturation:
            return int(self.saturation_threshold * area)
        return int(min(self.saturation_threshold, area))


def read_defects_config(root: Path, name: str) -> tuple[DefectKind, ...]:
    """The entries of a category's file, in its order.

    Args:
        root: the dataset's root.
        name: the file's path below it.

    Raises:
        DatasetError: the file is missing, no JSON, or has an entry that cannot be; it names each.
    """
    try:
        entries = json.loads(read_regular(root / name).decode("utf-8"))
    except FileNotFoundError:
        raise _refused(name, ["no such file; sPRO needs its saturation thresholds"]) from None
    except (OSError, ValueError) as error:
        raise _refused(name, [f"cannot be read: {error}"]) from error
    if not isinstance(entries, list) or not entries:
        raise _refused(name, [f"expected a list of entries with {', '.join(_KEYS)}"])
    faults = [f"entry {i}: {fault}" for i, entry in enumerate(entries) for fault in _faults(entry)]
    if faults:
        raise _refused(name, faults)
    kinds = tuple(DefectKind(*(entry[key] for key in _KEYS)) for entry in entries)
    values = [kind.pixel_value for kind in kinds]
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise _refused(name, [f"pixel_value {value} stands in several entries" for value in twice])
    return kinds


def _faults(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict) or set(_KEYS) - set(entry):
        yield f"expected {', '.join(_KEYS)}"
        return
    value, threshold, relative = (entry[key] for key in _KEYS[1:])
    if type(value) is not int or not 1 <= value <= 255:
        yield f"pixel_value {value!r}; expected a whole number from 1 to 255"
    if not isinstance(relative, bool):
        yield f"relative_saturation {relative!r}; expected true or false"
    elif isinstance(threshold, bool) or not isinstance(threshold, int | float):
        yield f"saturation_threshold {threshold!r}; expected a number"
    elif relative and not 0 < threshold <= 1:
        yield f"saturation_threshold {threshold!r}; expected a share of the area above 0, at most 1"
    elif not relative and not (threshold >= 1 and threshold == int(threshold)):
        yield f"saturation_threshold {threshold!r}; expected a whole number of pixels, at least 1"


def _refused(name: str, faults: list[str]) -> DatasetError:
    return DatasetError(f"{name} cannot be used:", [DatasetProblem(name, fault) for fault in faults])
