"""What a dataset's category holds: one row per image, whatever layout it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uad_orchestrator.datasets.defects_config import DefectKind
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
        masks: its masks; several where a dataset publishes several channels per image; empty for normals.
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
