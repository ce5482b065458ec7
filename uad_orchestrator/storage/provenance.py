"""What made an artifact: inputs with versions, settings, code, machine, time. Written beside each."""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    ValidationInfo,
)

from uad_orchestrator.storage.damage import is_sealed, seal

PROVENANCE_FILE = "provenance.json"

SEALED_FROM = 2
"""The schema from which on a provenance file ends with a checksum of itself."""

RECORDED_PACKAGES = (
    "uad_orchestrator", "numpy", "opencv-python-headless", "scikit-image", "scikit-learn", "scipy",
    "tifffile", "pyarrow", "duckdb", "dagster", "torch", "torchvision", "timm", "open_clip_torch",
    "anomalib", "faiss-cpu",
)  # fmt: skip
"""Distributions whose version may matter to a number."""


class ProvenanceError(ValueError):
    """A provenance file that cannot be read; the message names it and says what to do."""


def null_for_nan(value: Any) -> Any:
    """``value`` with each NaN or infinity, which JSON lacks, as None; mappings and lists all the way down.

    >>> null_for_nan({"image_auroc": 0.98, "pixel_auroc": float("nan")})
    {'image_auroc': 0.98, 'pixel_auroc': None}
    """
    if isinstance(value, _NEVER_NAN):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, _MAPPINGS):
        return {key: null_for_nan(item) for key, item in value.items()}
    if isinstance(value, _LISTS):
        return [null_for_nan(item) for item in value]
    return value


# Most frequent first, and no union made anew for each value: asked of all provenance that is read.
_NEVER_NAN, _MAPPINGS, _LISTS = (str, int, type(None)), (dict, Mapping), (list, tuple)


def _finite(value: Any, info: ValidationInfo) -> Any:
    """What is read from JSON was written so."""
    return value if info.mode == "json" else null_for_nan(value)


JsonText = str | bytes
FileBytes = bytes  # the model below has a field of that name
JsonObject = Annotated[dict[str, Any], BeforeValidator(_finite)]


class Provenance(BaseModel):
    """The record of one artifact.

    Attributes:
        schema_version: of the file.
        asset: the asset's name.
        dataset: of the cell; None where the asset has no such dimension.
        category: of the cell, within its dataset; likewise.
        detector: of the cell; likewise.
        version: the digest of its recipe, or of its content where it is an input.
        stage_version: of the code that made it.
        inputs: what was read, with its version. A plain asset name means the artifact's own category and
            detector; an input of another cell is written ``asset@dataset/category/detector``, with ``_`` for a
            dimension the asset lacks (the leaderboard reads ``metrics_report@mvtec_ad/bottle/patchcore`` and so on).
        settings: the resolved settings behind the artifact, in the project file's words, so that two versions
            can be compared in them: ``{"preset": [...], "coreset": {"ratio": 0.1, ...}}``.
        packages: versions of the installed packages that may matter to a number.
        code_version: of this project.
        host: where it was made.
        device: likewise.
        seeds: those used.
        started_at: with a time zone.
        seconds: time taken.
        bytes: of all files.
        metrics: figures by their published names; None where undefined.
        run_id: of the Dagster run.
        facts: anything else worth knowing.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SEALED_FROM
    asset: str
    dataset: str | None = None
    category: str | None = None
    detector: str | None = None
    version: str
    stage_version: int | str = 1
    inputs: dict[str, str] = Field(default_factory=dict)
    settings: JsonObject = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)
    code_version: str = ""
    host: str = Field(default_factory=socket.gethostname)
    device: str = "cpu"
    seeds: dict[str, int] = Field(default_factory=dict)
    started_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    bytes: NonNegativeInt = 0
    files: dict[str, NonNegativeInt] | None = Field(
        None, description="size in bytes of each file, by posix path"
    )
    checksums: dict[str, str] = Field(
        default_factory=dict, description="CRC-32 of each file, by posix path; earlier versions kept none"
    )
    payload: str | None = Field(
        None,
        description="object stores: the folder that has the files, of this writer alone, from the root; one plain "
        "name: below the version, as earlier versions wrote it",
    )
    metrics: Annotated[dict[str, float | None], BeforeValidator(_finite)] = Field(default_factory=dict)
    run_id: str | None = None
    facts: JsonObject = Field(default_factory=dict)

    def to_json(self) -> str:
        """The record as it is stored.

        Returns:
            Indented JSON, NaN as null.
        """
        return self.model_dump_json(indent=1)

    def to_file(self) -> FileBytes:
        """The record as the file beside an artifact.

        Returns:
            ``to_json`` in UTF-8, with a checksum of all before it as its last key.
        """
        return seal(self.to_json()).encode()

    @classmethod
    def from_file(cls, data: FileBytes, place: str | Path) -> Provenance:
        """Read what ``to_file`` gave.

        Args:
            data: the file's bytes.
            place: names the file in the error.

        Returns:
            The record.

        Raises:
            ProvenanceError: as ``from_json``, and where a byte changed since it was written.
        """
        found = cls.from_json(data, place)
        # a bit of the schema may be what changed: a checksum is held to, whatever the schema
        if (found.schema_version >= SEALED_FROM or b'\n "checksum": ' in data) and not is_sealed(data):
            raise ProvenanceError(
                f"{place} was changed since it was written (its checksum differs). The artifact does not count; "
                "refresh the cell and it is replaced."
            )
        return found

    @classmethod
    def from_json(cls, text: JsonText, place: str | Path) -> Provenance:
        """Read what ``to_json`` wrote.

        Args:
            text: JSON.
            place: names the file in the error.

        Returns:
            The record.

        Raises:
            ProvenanceError: not such JSON.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ProvenanceError(
                f"{place} is not a readable provenance file ({key}: {first['msg']}). The artifact does "
                "not count; delete its folder, or refresh the cell and it is replaced."
            ) from error


@cache
def package_versions(names: tuple[str, ...] = RECORDED_PACKAGES) -> Mapping[str, str]:
    """Versions of the installed ones among ``names``, read from their metadata: nothing is imported."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
