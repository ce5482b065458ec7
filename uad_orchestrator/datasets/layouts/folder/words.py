"""What folders of the layout are called, in any case: what each name means."""

from __future__ import annotations

from collections.abc import Sequence

TRAIN, TEST = ("train",), ("test",)
VALIDATION = ("validation", "valid", "val")
GROUND_TRUTH = ("ground_truth", "groundtruth")
MASK_SUFFIXES = ("_mask", "")
MASKS = (*GROUND_TRUTH, "gt", "mask", "masks")
NO_IMAGES = (*MASKS, "label", "labels", "annotation", "annotations")
READ = (*TRAIN, *VALIDATION, *TEST, *GROUND_TRUTH)


def plain(name: str) -> str:
    """A name as the words stand here."""
    return name.lower().replace(" ", "_").replace("-", "_")


def lower(names: Sequence[str] | None) -> tuple[str, ...]:
    """Names that a user wrote, in lower case; none where there are none."""
    return tuple(name.lower() for name in names or ())
