"""Whether a bundle's content can be what was written: digests say nothing of it where someone writes both anew.

A threshold that was moved to another finite value cannot be told; a signature tells that (see ``signature``).
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from uad_orchestrator.detectors.protocol.fitted_look import FITTED_ON, fitted_on
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.inference.bundle import BundleError
from uad_orchestrator.memory.nearest_chosen import KNOWN, NONE
from uad_orchestrator.metrics.thresholds.operating_point import Pin
from uad_orchestrator.postprocess.map_set import NormalMapStatistics
from uad_orchestrator.storage.regular_file import read_regular

LARGEST_JSON = 64 * 2**20
"""Bytes of ``bundle.json`` and ``state.json``: a million calibration scores take a third of it."""

ARRAY_KINDS = "biufUS"
"""Kinds of dtype that a state holds: numbers, truth values, texts."""


class StoredPoint(BaseModel):
    """An operating point as ``OperatingPoint.stored`` and ``to_json`` write it; nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    threshold: FiniteFloat | None
    source: str
    n: int = Field(ge=0)
    contamination: FiniteFloat = Field(gt=0, lt=1)
    left_aside: list[str] = []
    set_by: str | None = None
    largest_group: int | None = Field(default=1, ge=0)
    rank: int | None = Field(default=None, ge=1)
    guaranteed_rate: FiniteFloat | None = None
    false_positive_limit: FiniteFloat | None = None
    pinned: dict[str, Any] | None = None
    calibrated_on: str | None = None

    @field_validator("pinned")
    @classmethod
    def _pin(cls, values: dict[str, Any] | None) -> dict[str, Any] | None:
        if values is not None:
            Pin.model_validate(values)
        return values

    @model_validator(mode="after")
    def _of_its_pin(self) -> Self:
        value = (self.pinned or {}).get("threshold")
        if value is not None and (self.threshold != value or self.n):
            raise ValueError(
                f"threshold is {self.threshold!r} of {self.n} normals, but {value!r} was pinned, of none"
            )
        return self


def _point(values: dict[str, Any]) -> dict[str, Any]:
    StoredPoint.model_validate(values)
    return values


def _statistics(values: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(values.keys() - NormalMapStatistics().summary().keys()):
        raise ValueError(f"unknown keys: {', '.join(unknown)}")
    return values


Point = Annotated[dict[str, Any], AfterValidator(_point)]
"""An operating point's JSON values, held to ``StoredPoint``."""

MapStatistics = Annotated[dict[str, FiniteFloat | int | None], AfterValidator(_statistics)]
"""Those of ``NormalMapStatistics.summary``."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object whose numbers are all finite.

    Raises:
        BundleError: it is none; names the file and the key.
    """
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise BundleError(f"{path} has {size} bytes: at most {LARGEST_JSON} are read")
    try:
        values = json.loads(read_regular(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise BundleError(f"{path}: expected a JSON object")
    if place := next(_not_finite(values), None):
        raise BundleError(f"{path}: {place} is NaN or infinite: no export writes that")
    return values


def check_review(image_point: Mapping[str, Any], review_point: Mapping[str, Any] | None, path: Path) -> None:
    """Review ends at the image threshold, so it begins below it.

    Raises:
        BundleError: it does not.
    """
    if review_point is None or None in (begin := review_point["threshold"], end := image_point["threshold"]):
        return
    if begin >= end:
        raise BundleError(
            f"{path}: review_point.threshold is {begin!r}, which is not below the image threshold {end!r}: no "
            "export writes that"
        )


def check_arrays_file(path: Path) -> None:
    """Hold the sizes that a state's arrays claim to those that are there, before memory is taken for them.

    Raises:
        BundleError: a size, a dtype, or compression that no export writes; names the array.
    """

    def refuse(name: str, why: str) -> NoReturn:
        raise BundleError(f"{path}: array {name}: {why}")

    try:
        with zipfile.ZipFile(path) as stored:
            members = stored.infolist()
            names = [member.filename for member in members]
            for member in members:
                name = member.filename.removesuffix(".npy")
                if names.count(member.filename) > 1:
                    refuse(name, "it is there twice")
                if member.compress_type != zipfile.ZIP_STORED:
                    refuse(name, "it is compressed; an export stores arrays as they are")
                with stored.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_1_0
                    shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(
                        file
                    )
                    here = member.file_size - file.tell()
                if dtype.kind not in ARRAY_KINDS:
                    refuse(name, f"dtype {dtype}: expected numbers, truth values or texts")
                if math.prod(shape) * dtype.itemsize != here:
                    refuse(name, f"it claims {list(shape)} values of {dtype}, but has {here} bytes")
    except BundleError:
        raise
    except Exception as error:  # a damaged header makes numpy's and zipfile's parsers raise nearly anything
        raise BundleError(f"{path}: cannot be read: {error}") from error


def check_state(state: DetectorState, directory: Path) -> None:
    """Hold a fitted state to what any fit gives.

    Raises:
        BundleError: NaN or infinite values, a bank whose parts do not fit each other; names the array.
    """
    for name, array in state.arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(f"{directory}: array {name} holds values that are NaN or infinite")
    try:
        images = [image["digest"] + image["group"] + image["name"] for image in state.facts["images"]]
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"{directory}/state.json: images: expected name, digest and group of each"
        ) from error
    try:
        fitted_on(state)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{directory}/state.json: {FITTED_ON}: is not what a fit writes ({type(error).__name__}: {error})"
        ) from error
    suffixes = {name.removeprefix("bank") for name in state.arrays if name.startswith("bank")}
    layers = state.facts.get("layers")
    if layers is not None or "bank_rows" in state.facts:
        suffixes |= {""} if layers is None else {f"_{number}" for number in _counted(layers, directory)}
    for suffix in sorted(suffixes):
        if wrong := next(_wrong_bank(state, suffix, len(images)), None):
            raise BundleError(f"{directory}: {wrong}")


def _wrong_bank(state: DetectorState, suffix: str, images: int) -> Iterator[str]:
    """What keeps the arrays of a bank from belonging together."""
    arrays, facts = state.arrays, state.facts
    needed = [f"{name}{suffix}" for name in ("bank", "rows", "row_starts")]
    if missing := [name for name in needed if name not in arrays]:
        yield f"array {missing[0]} is missing"
        return
    bank, rows, starts = (arrays[name] for name in needed)
    if bank.ndim != 2 or bank.dtype.kind != "f" or 0 in bank.shape:
        yield f"array {needed[0]}: expected rows of floating point, not {bank.dtype} {list(bank.shape)}"
        return
    n, width = bank.shape
    if not suffix and facts.get("dimension", width) != width:
        yield f"array {needed[0]} has rows of {width} values; the state says {facts['dimension']}"
    if not suffix and facts.get("bank_rows", n) != n:
        yield f"array {needed[0]} has {n} rows; the state says {facts['bank_rows']}"
    if rows.shape != (n,) or rows.dtype.kind not in "iu":
        yield f"array {needed[1]}: expected {n} whole numbers, a row of the bank each, not {list(rows.shape)}"
    ends = starts.ndim == 1 and len(starts) == images + 1 and starts.dtype.kind in "iu"
    if not ends or starts[0] != 0 or starts[-1] != n or (starts[1:] < starts[:-1]).any():
        yield f"array {needed[2]}: expected {images + 1} ascending numbers from 0 to {n}"
    optional = ("weights", "cells", "turns", "nearest")
    weights, cells, turns, nearest = (arrays.get(f"{name}{suffix}") for name in optional)
    if weights is not None and weights.shape != (n,):
        yield f"array weights{suffix}: expected {n}, a row of the bank each, not {list(weights.shape)}"
    if cells is not None and (cells.ndim != 2 or cells.shape[1] != width or not len(cells)):
        yield f"array cells{suffix}: expected rows of {width} values, not {list(cells.shape)}"
    if turns is not None and not np.array_equal(np.sort(turns, axis=None), np.arange(n)):
        yield f"array turns{suffix}: expected each of the numbers from 0 to {n - 1} once"
    if nearest is not None and not _of_patches(nearest, n):
        yield f"array nearest{suffix}: expected up to three numbers of rows, -1 to {n - 1}, of each patch"


def _of_patches(nearest: np.ndarray, rows: int) -> bool:
    fits = nearest.ndim == 2 and 1 <= nearest.shape[1] <= KNOWN and nearest.dtype.kind == "i"
    return fits and (not nearest.size or bool(nearest.min() >= NONE and nearest.max() < rows))


def _counted(layers: Any, directory: Path) -> range:
    if not isinstance(layers, int) or not 1 <= layers <= 1000:
        raise BundleError(f"{directory}/state.json: layers is {layers!r}: expected their number")
    return range(layers)


def _not_finite(values: Any, place: str = "") -> Iterator[str]:
    """Where JSON values hold a number that is NaN or infinite."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _not_finite(value, f"{place}.{key}" if place else str(key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _not_finite(value, f"{place}[{number}]")
    elif isinstance(values, float) and not math.isfinite(values):
        yield place
