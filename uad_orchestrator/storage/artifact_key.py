"""The address of an artifact: which asset of which cell, in which version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from uad_orchestrator.storage.provenance import Provenance

ABSENT = "_"
"""Stands in a path for a dimension the asset does not have."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, order=True)
class ArtifactKey:
    """An artifact's address, the same on every disk and object store.

    Attributes:
        asset: the asset's name, e.g. ``memory_bank``.
        dataset, category, detector: the cell; None for a dimension the asset lacks.
        version: the digest of its recipe.

    Raises:
        ValueError: a part that is not one plain folder name (empty, ``..``, a separator, a leading dot).

    >>> ArtifactKey("memory_bank", "mvtec_ad", "bottle", "patchcore", "3f2a").path
    PurePosixPath('artifacts/memory_bank/mvtec_ad/bottle/patchcore/3f2a')
    >>> ArtifactKey("leaderboard", None, None, None, "77").path
    PurePosixPath('artifacts/leaderboard/_/_/_/77')
    """

    asset: str
    dataset: str | None
    category: str | None
    detector: str | None
    version: str

    def __post_init__(self) -> None:
        for field in ("asset", "dataset", "category", "detector", "version"):
            value = getattr(self, field)
            if value is None and field not in ("asset", "version"):
                continue
            _require_folder_name(field, value)

    @classmethod
    def of(cls, provenance: Provenance) -> ArtifactKey:
        """The key of the artifact a provenance describes."""
        return cls(
            provenance.asset, provenance.dataset, provenance.category, provenance.detector, provenance.version
        )

    @classmethod
    def from_path(cls, path: PurePosixPath) -> ArtifactKey:
        """The key whose ``path`` this is; ValueError otherwise."""
        parts = path.parts
        if len(parts) != 6 or parts[0] != "artifacts":
            raise ValueError(f"{path} is not artifacts/<asset>/<dataset>/<category>/<detector>/<version>")
        asset, *cell, version = parts[1:]
        dataset, category, detector = (None if part == ABSENT else part for part in cell)
        return cls(asset, dataset, category, detector, version)

    @property
    def parts(self) -> tuple[str, str, str, str, str]:
        """Asset, dataset, category, detector, version, with ``_`` for what is absent."""
        return (self.asset, *self.cell, self.version)

    @property
    def cell(self) -> tuple[str, str, str]:
        """Dataset, category, detector, with ``_`` for what is absent."""
        return (self.dataset or ABSENT, self.category or ABSENT, self.detector or ABSENT)

    @property
    def path(self) -> PurePosixPath:
        """Where it lies below the storage root."""
        return PurePosixPath("artifacts", *self.parts)

    def __str__(self) -> str:
        return "/".join(self.parts)


def _require_folder_name(field: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"the {field} of an artifact must be a non-empty string, got {value!r}")
    if value == ABSENT or value.startswith(".") or _UNSAFE.search(value) or len(value.encode()) > 200:
        raise ValueError(
            f"the {field} {value!r} cannot name a folder: no separators, control characters, leading dot, "
            f"not {ABSENT!r}, at most 200 bytes"
        )
