"""Copies of files in several splits: they make every score too good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uad_orchestrator.datasets.manifest import ImageRecord, Manifest, Split
from uad_orchestrator.datasets.problems import DatasetProblem

_USES: dict[Split, str] = {"train": "trained on", "validation": "calibrated on"}


def find_exact_copies(manifest: Manifest) -> list[DatasetProblem]:
    """The images whose bytes stand in an earlier split, too: validation and test in train, test in validation.

    Args:
        manifest: what ``load_dataset`` gave; nothing is read but its digests.

    Returns:
        A warning for each, or an error where the manifest's ``leaks`` say so, in the manifest's order.
    """
    return [
        leak(manifest, record, "the same file as", earlier)
        for record, earlier in with_earlier(manifest.records)
    ]


def with_earlier(records: Sequence[ImageRecord]) -> Iterator[tuple[ImageRecord, ImageRecord]]:
    """The records whose digest an earlier split has, with the first that has it."""
    first: dict[str, ImageRecord] = {}
    for record in records:  # sorted by split: train, validation, test
        earlier = first.setdefault(record.digest, record)
        if earlier.split != record.split and earlier.split in _USES:
            yield record, earlier


def leak(manifest: Manifest, record: ImageRecord, what: str, earlier: ImageRecord) -> DatasetProblem:
    """What there is to say of a copy of an earlier split's image: a warning or an error, as the manifest has it."""
    message = f"{what} {earlier.path}, which is {_USES[earlier.split]}; take one of them out"
    return DatasetProblem(record.path, message, manifest.leak_severity)
