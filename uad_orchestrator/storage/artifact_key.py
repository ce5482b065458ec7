"""The address of an artifact: which asset of which cell, in which version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from uad_orchestrator.storage.provenance import Provenance

ABSENT = "_"
"""Stands in a path for a dimension the asset does not have."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")

_USUAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""Names that need no closer look."""


@dataclass(frozen=True, order=True)
class ArtifactKey:
    """An artifact's address, the same on every disk and object store.

    Attributes:
        asset: the asset's name, e.g. ``memory_bank``.
        dataset: of the cell; None where the asset has no such dimension.
        category: of the cell, within its dataset; likewise.
        detector: of the cell; likewise.
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
        for field, value in vars(self).items():
            if value is None and field not in ("asset", "version"):
                continue
            _require_folder_name(field, value)

    @classmethod
    def of(cls, provenance: Provenance) -> ArtifactKey:
        """The key of the artifact a provenance describes.

        Args:
            provenance: the artifact's record.

        Returns:
            Its key.

        Raises:
            ValueError: a part of it cannot name a folder.
        """
        return cls(
            provenance.asset, provenance.dataset, provenance.category, provenance.detector, provenance.version
        )

    def is_of(self, provenance: Provenance) -> bool:
        """Whether it is the key of the artifact a provenance describes: ``of``, without a key made and checked.

        Args:
            provenance: the record.

        Returns:
            Whether all parts are the same.
        """
        return (
            self.version == provenance.version
            and self.asset == provenance.asset
            and self.dataset == provenance.dataset
            and self.category == provenance.category
            and self.detector == provenance.detector
        )

    @classmethod
    def from_path(cls, path: PurePosixPath | str) -> ArtifactKey:
        """The key whose ``path`` this is.

        Args:
            path: relative to the storage root.

        Returns:
            The key.

        Raises:
            ValueError: it is none.
        """
        parts = str(path).split("/")
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
    def folder(self) -> str:
        """``path`` as text: made in a tenth of the time, for what is asked of each artifact of a grid."""
        return f"artifacts/{'/'.join(self.parts)}"

    @property
    def path(self) -> PurePosixPath:
        """Where it lies below the storage root."""
        return PurePosixPath(self.folder)

    def __str__(self) -> str:
        return "/".join(self.parts)


def split_category(category: str | None) -> tuple[str | None, str | None]:
    """``dataset/category`` in two; (None, None) for None. ValueError for anything else."""
    if category is None:
        return None, None
    dataset, slash, name = category.partition("/")
    if not (dataset and slash and name):
        raise ValueError(f"category {category!r}: expected dataset/category, such as mvtec_ad/bottle")
    return dataset, name


def _require_folder_name(field: str, value: object) -> None:
    if type(value) is str and _USUAL.fullmatch(value):  # asked of each part of every artifact of a grid
        return
    if not isinstance(value, str) or not value:
        raise ValueError(f"the {field} of an artifact must be a non-empty string, got {value!r}")
    if value == ABSENT or value.startswith(".") or _UNSAFE.search(value) or len(value.encode()) > 200:
        raise ValueError(
            f"the {field} {value!r} cannot name a folder: no separators, control characters, leading dot, "
            f"not {ABSENT!r}, at most 200 bytes"
        )


@dataclass(frozen=True)
class InputReference:
    """What a name among a provenance's inputs means.

    Attributes:
        asset: the asset that was read.
        cell: dataset, category, detector where another cell's was read; None: that of the reader itself.

    >>> InputReference.parse("memory_bank")
    InputReference(asset='memory_bank', cell=None)
    >>> InputReference.parse("metrics_report@mvtec_ad/bottle/patchcore").cell
    ('mvtec_ad', 'bottle', 'patchcore')
    """

    asset: str
    cell: tuple[str | None, str | None, str | None] | None

    @classmethod
    def parse(cls, name: str) -> InputReference:
        """Read ``asset`` or ``asset@dataset/category/detector``; ValueError for anything else."""
        asset, at, cell = name.partition("@")
        if not at:
            return cls(asset, None)
        parts = cell.split("/")
        if len(parts) != 3:
            raise ValueError(f"input {name!r}: expected asset or asset@dataset/category/detector")
        dataset, category, detector = (None if part == ABSENT else part for part in parts)
        return cls(asset, (dataset, category, detector))

    def candidates(self, reader: ArtifactKey, version: str) -> list[ArtifactKey]:
        """Where the artifact of this input may lie: the reader's cell, or what the input has of it."""
        if self.cell is not None:
            return [ArtifactKey(self.asset, *self.cell, version)]
        dataset, category, detector = reader.dataset, reader.category, reader.detector
        cells = dict.fromkeys(
            [
                (dataset, category, detector),
                (dataset, category, None),
                (None, None, detector),
                (None, None, None),
            ]
        )
        return [ArtifactKey(self.asset, *cell, version) for cell in cells]
