"""Which images train, validate and test: detectors are fitted on normals, whatever a tool calls a split."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from uad_orchestrator.datasets.manifest import Split

_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Placed:
    """An image that needs a split.

    Attributes:
        path: relative to the images' folder.
        anomalous: whether it shows a defect.
        said: the split that annotation or folders say; None: none.
        group: the physical part it shows.
    """

    path: str
    anomalous: bool
    said: Split | None
    group: str | None


def split_word(text: str) -> Split | None:
    """The split a word names.

    >>> split_word("Valid"), split_word("train2017"), split_word("trainer")
    ('validation', 'train', None)
    """
    found = re.fullmatch(r"([a-z]+)[-_]?\d*", text.strip().lower())
    return _WORDS.get(found[1]) if found else None


def split_of_folders(path: str) -> Split | None:
    """The split that the first of a path's folders with such a name says."""
    return next((split for folder in path.split("/")[:-1] if (split := split_word(folder))), None)


def split_of_file_name(stem: str) -> Split | None:
    """The split in an annotation file's name, as in ``instances_val2017``."""
    return next((split for word in re.split(r"[^A-Za-z0-9]+", stem) if (split := split_word(word))), None)


def choose_splits(
    images: Sequence[Placed], *, train: Iterable[str] = (), train_share: float = 0.7
) -> tuple[dict[str, Split], list[str]]:
    """A split for each image.

    Defects are tested, whatever split is said. Normals matching ``train`` are fitted and all others tested; without
    patterns they go where annotation or folders say. Those of which nothing is said are divided: by a digest of their
    path or group, so that the same files always come to the same split, and images of one part stay together.

    Args:
        images: all images.
        train: patterns over paths (``lot1/*``).
        train_share: of the normals of which no split is said, how many are fitted; in (0, 1).

    Returns:
        The split by path, and notes on what was decided here.
    """
    patterns, notes = tuple(train), []
    splits: dict[str, Split] = {}
    free: list[Placed] = []
    for image in images:
        if image.anomalous:
            splits[image.path] = "test"
        elif patterns:
            splits[image.path] = "train" if any(fnmatchcase(image.path, p) for p in patterns) else "test"
        elif image.said:
            splits[image.path] = image.said
        else:
            free.append(image)
    moved = sum(image.anomalous and image.said in ("train", "validation") for image in images)
    if moved:
        notes.append(
            f"{moved} defective images of train or validation are tested: detectors are fitted on normals"
        )
    if free:
        splits |= _divide(free, train_share)
        fitted = sum(splits[image.path] == "train" for image in free)
        notes.append(
            f"no split is said of {len(free)} normal images: {fitted} train, {len(free) - fitted} test "
            "(--train GLOB or --train-share says otherwise)"
        )
    return splits, notes


def _divide(images: Sequence[Placed], share: float) -> dict[str, Split]:
    """Whole groups to train, in the order of their digests, until the share is reached; at least one to either."""
    parts: dict[str, list[str]] = defaultdict(list)
    for image in images:
        parts[image.group or image.path].append(image.path)
    order = sorted(parts, key=lambda part: hashlib.sha256(part.encode(errors="surrogateescape")).hexdigest())
    fitted = min(max(round(share * len(order)), 1), max(len(order) - 1, 1))
    return {
        path: "train" if place < fitted else "test"
        for place, part in enumerate(order)
        for path in parts[part]
    }
