"""What a dataset's category holds: one row per image, whatever layout it came from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from uad_orchestrator.datasets.defects_config import DefectKind
from uad_orchestrator.datasets.problems import DatasetProblem, Severity
from uad_orchestrator.datasets.strictness import LeakRule
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.storage.file_names import file_path

Split = Literal["train", "validation", "test", "test_private", "test_private_mixed"]
"""The last two are published without labels: they are scored and exported, never in a metric."""

UNKNOWN_LABEL = -1

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels."""


@dataclass(frozen=True)
class MaskFile:
    """A ground-truth mask.

    Attributes:
        path: posix path relative to the dataset's root, as ``ImageRecord.path``.
        digest: SHA-256 (hex) of the file's bytes.
    """

    path: str
    digest: str


@dataclass(frozen=True)
class ImageRecord:
    """One image of a category.

    Attributes:
        path: posix path relative to the dataset's root, e.g. ``bottle/test/broken_large/000.png``; a newline and the
            like in it are escaped, so that any table takes it: ``Manifest.file`` leads to the file.
        split: ``train``, ``validation`` (normals that calibrate, never fitted), ``test``, or a private one.
        label: 0 normal, 1 anomalous, -1 where none is published.
        defect_type: ``good`` for normals, ``unknown`` without a label, else the dataset's own word.
        digest: SHA-256 (hex) of the file's bytes.
        masks: its masks; several where a dataset publishes several channels per image; none where there are none,
            of normals only where they come with one, which shows nothing.
        group_id: the physical part it shows, where the dataset says so.
        boxes: where its defects are, if they are known by boxes only: no mask, so no pixel metric counts the image.
    """

    path: str
    split: Split
    label: int
    defect_type: str
    digest: str
    masks: tuple[MaskFile, ...] = ()
    group_id: str | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """All images of one category, sorted by split (train, validation, test, private ones) and path.

    Attributes:
        dataset: the dataset's name, as tables call it.
        category: the category's name.
        layout: the layout it was read by.
        root: the folder that all paths are relative to.
        records: the images.
        excluded: the images the user took out by name.
        notes: what a reader of results must know of the splits (one of our own making, one without ground truth).
        defects: what the pixel values of masks in channels mean, where the layout keeps channels apart.
        reading: how its images are read.
        warnings: what is missing or odd by its name.
        leaks: what copies between the splits are: ``warn`` or ``error``.
    """

    dataset: str
    category: str
    layout: str
    root: Path
    records: tuple[ImageRecord, ...]
    excluded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    defects: tuple[DefectKind, ...] = ()
    reading: ReadingSettings = PLAIN_READING
    warnings: tuple[DatasetProblem, ...] = ()
    leaks: LeakRule = "warn"

    def file(self, path: str) -> Path:
        """Where an image or a mask lies.

        Args:
            path: that of its record.

        Returns:
            The file's own path.
        """
        return self.root / file_path(path)

    def select(self, split: Split, label: int | None = None) -> tuple[ImageRecord, ...]:
        """The records of a split.

        Args:
            split: which one.
            label: 0 or 1, for those of one label only.

        Returns:
            Them, in path order.
        """
        return tuple(r for r in self.records if r.split == split and (label is None or r.label == label))

    @property
    def train(self) -> tuple[ImageRecord, ...]:
        """The normals a detector may be fitted on."""
        return self.select("train", 0)

    @property
    def validation(self) -> tuple[ImageRecord, ...]:
        """Published held-out normals: they calibrate and are never fitted."""
        return self.select("validation", 0)

    @property
    def test(self) -> tuple[ImageRecord, ...]:
        """The labelled test images, normal and anomalous: those that metrics are taken of."""
        return self.select("test")

    @property
    def scored(self) -> tuple[ImageRecord, ...]:
        """All that is scored and gets a map: the test images, and those of splits without labels."""
        return tuple(r for r in self.records if r.split not in ("train", "validation"))

    @property
    def leak_severity(self) -> Severity:
        """What a copy between two splits is."""
        return "error" if self.leaks == "error" else "warning"

    @cached_property
    def map_names(self) -> Mapping[str, str]:
        """How the anomaly maps of images are called that share their stem with others of their defect type, by path."""
        sharing: dict[tuple[str, str], list[str]] = defaultdict(list)
        for record in self.scored:
            folder = record.defect_type if record.split == "test" else record.split
            sharing[folder, PurePosixPath(record.path).stem.lower()].append(record.path)
        taken = set(sharing)
        names: dict[str, str] = {}
        for (folder, _), paths in sharing.items():
            for path, name in _told_apart(paths).items() if len(paths) > 1 else ():
                digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
                names[path] = f"{name}-{digest}" if (folder, name.lower()) in taken else name
                taken.add((folder, names[path].lower()))
        return names

    def source(self, record: ImageRecord) -> ImageSource:
        """The record as something a detector can read.

        Args:
            record: one of this manifest.

        Returns:
            A source named by the record's path; images with one ``group_id`` share a group.
        """
        return ImageSource.from_path(
            self.file(record.path),
            name=record.path,
            digest=record.digest,
            group=record.group_id or record.path,
            reading=self.reading,
        )

    def sources(self, records: tuple[ImageRecord, ...]) -> Iterator[ImageSource]:
        """The records as sources.

        Args:
            records: of this manifest.

        Returns:
            An iterator over the sources, in order.
        """
        return (self.source(record) for record in records)


def _told_apart(paths: Sequence[str]) -> dict[str, str]:
    """Names of files of one stem: as many of their folders before it as tell them apart.

    >>> _told_apart(["a/cam0/1.png", "a/cam1/1.png"])
    {'a/cam0/1.png': 'cam0__1', 'a/cam1/1.png': 'cam1__1'}
    """
    parts = {path: [*PurePosixPath(path).parts[:-1], PurePosixPath(path).stem] for path in paths}
    for depth in range(2, max(map(len, parts.values())) + 1):
        names = {path: "__".join(part.strip("/") for part in of[-depth:]) for path, of in parts.items()}
        if len({name.lower() for name in names.values()}) == len(paths):
            return names
    return {path: "__".join(part.strip("/") for part in of) for path, of in parts.items()}
