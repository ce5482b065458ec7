"""The masks of a category, and the image that each of them belongs to."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from uad_orchestrator.datasets.layouts.folder.category_folders import CategoryFolders, Grouped
from uad_orchestrator.datasets.layouts.folder.words import GROUND_TRUTH, MASK_SUFFIXES, TEST
from uad_orchestrator.datasets.scan import refuse_surplus, stem


class Masks:
    """The mask files of a category, of each class by its name in lower case; what fits nowhere is a problem."""

    def __init__(self, folders: CategoryFolders) -> None:
        self.scan = folders.scan
        self.folders = folders
        self.folder, classes = folders.classes(GROUND_TRUTH)
        self.files: dict[str, Grouped] = {}
        for name in classes:
            if name.lower() in self.files:
                self.scan.complain(
                    f"{self.folder}/{name}", "stands beside a folder that differs in case only; keep one"
                )
            self.files[name.lower()] = folders.images(f"{self.folder}/{name}", of_masks=True)

    def match(
        self, name: str, found: Grouped, kept: Grouped, *, defective: bool
    ) -> dict[str, tuple[str, ...]]:
        """The mask of each image, from the folder of its group or else from that of the class.

        Args:
            name: the class.
            found: its images, those left out by the user too: their masks are no surplus.
            kept: those that stay.
            defective: whether it is one of defects; normals need no mask.
        """
        masks = self.files.get(name.lower(), {})
        by_place: dict[tuple[str | None, str], list[str]] = defaultdict(list)
        for mask, group in masks.items():
            by_place[_lowered(group), stem(mask)].append(mask)
        owner: dict[str, str] = {}
        pairs: dict[str, tuple[str, ...]] = {}
        for image, group in found.items():
            candidates = _candidates(by_place, stem(image), _lowered(group))
            taken = [owner[mask] for mask in candidates if mask in owner]
            owner.update(dict.fromkeys(candidates, image))
            if image not in kept:
                continue
            if taken:
                message = f"has the same mask as {taken[0]}: {candidates[0]}; lay masks in folders as their images lie"
                self.scan.complain(image, message)
            elif len(candidates) > 1:
                self.scan.complain(image, f"has several masks ({', '.join(candidates)}); expected one")
            elif candidates:
                pairs[image] = tuple(candidates)
            elif defective:
                expected = f"{self.folder}/{name}/{Path(image).stem}_mask.png"
                self.scan.lacks_mask(image, f"has no mask; expected {expected} (or another image extension)")
        surplus = masks.keys() - owner.keys()
        if not defective:  # some tools write masks of all normals, those of train too
            trained = {stem(image.path) for image in self.scan.images if image.split != "test"}
            surplus = {mask for mask in surplus if stem(mask).removesuffix(MASK_SUFFIXES[0]) not in trained}
        refuse_surplus(self.scan, surplus)
        return pairs

    def refuse_unused(self) -> None:
        """Everything in ``ground_truth`` belongs to a class of ``test``."""
        tested, classes = self.folders.classes(TEST, loose=False)
        for name in self.folders.classes(GROUND_TRUTH, loose=False)[1]:
            if name.lower() not in {other.lower() for other in classes} and self.files[name.lower()]:
                message = f"masks without images; expected their images in {tested}/{name}"
                self.scan.complain(f"{self.folder}/{name}", message)


def _candidates(
    by_place: Mapping[tuple[str | None, str], list[str]], image: str, group: str | None
) -> list[str]:
    for place in dict.fromkeys((group, None)):
        found = [mask for suffix in MASK_SUFFIXES for mask in by_place.get((place, image + suffix), [])]
        if found:
            return found
    return []


def _lowered(group: str | None) -> str | None:
    return None if group is None else os.path.normcase(group).lower()
