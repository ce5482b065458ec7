"""Copies between train, validation and test: they make every score too good."""

from __future__ import annotations

from uad_orchestrator.datasets.manifest import Manifest, Split
from uad_orchestrator.datasets.problems import DatasetProblem

_USES: dict[Split, str] = {"train": "trained on", "validation": "calibrated on"}


def find_exact_copies(manifest: Manifest) -> list[DatasetProblem]:
    """The images whose bytes stand in an earlier split, too: validation and test in train, test in validation.

    Args:
        manifest: what ``load_dataset`` gave; nothing is read but its digests.

    Returns:
        A warning for each, or an error where the manifest's ``leaks`` say so, in the manifest's order.
    """
    first: dict[str, tuple[str, Split]] = {}
    problems = []
    for record in manifest.records:  # sorted by split: train, validation, test
        path, split = first.setdefault(record.digest, (record.path, record.split))
        if split != record.split and split in _USES:
            message = f"the same file as {path}, which is {_USES[split]}; take one of them out"
            problems.append(DatasetProblem(record.path, message, manifest.leak_severity))
    return problems
