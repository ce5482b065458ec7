"""The shape most sets share: ``<split>/<class>/<image>`` with ``ground_truth/<defect>/<stem>_mask.<ext>``.

The layouts say which words they use; reading the folders is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.loose_images import refuse_loose
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import (
    FoundImage,
    Scan,
    is_folder,
    list_files,
    list_images,
    match_masks,
    subfolders,
)

MaskFinder = Callable[[Scan, Path, str, Sequence[str], Sequence[str]], dict[str, tuple[str, ...]]]
"""``(scan, root, folder of the masks, images, images left out) -> masks of each image that has them``."""


def masks_by_stem(*suffixes: str) -> MaskFinder:
    """One mask per image, in one folder, of the same stem with one of ``suffixes`` behind it."""

    def find(
        scan: Scan, root: Path, folder: str, images: Sequence[str], excluded: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        masks = list_images(scan, root, folder, may_be_empty=True) if is_folder(root / folder) else []
        expected = f"{folder}/{{stem}}{suffixes[0]}.png"
        pairs = match_masks(scan, images, masks, suffixes=suffixes, expected=expected, excluded=excluded)
        return {image: (mask,) for image, mask in pairs.items()}

    return find


@dataclass(frozen=True)
class ClassFolders:
    """The words of a layout.

    Attributes:
        normal: names of the folders of normal images, in lower case; the first is the published one.
        validation: whether a ``validation`` split may be there.
        test: the folder of the test split.
        ground_truth: the folder of the masks.
        find_masks: how the masks of a defect type's images are found below ``ground_truth/<defect>``.
    """

    normal: tuple[str, ...] = ("good",)
    validation: bool = False
    test: str = "test"
    ground_truth: str = "ground_truth"
    find_masks: MaskFinder = field(default_factory=lambda: masks_by_stem("_mask", ""))


def find_categories(root: Path) -> list[str]:
    """The folders below ``root`` that have a ``train`` folder, sorted."""
    return [name for name in subfolders(root) if is_folder(root / name / "train")]


def scan_category(root: Path, folder: str, words: ClassFolders, exclusions: Exclusions) -> Scan:
    """All images of the category in ``root/folder`` with split, label, defect type and masks."""
    reader = _Reader(root, folder, words, exclusions)
    reader.read_normals("train")
    if words.validation and is_folder(root / folder / "validation"):
        reader.read_normals("validation")
    reader.read_test()
    return reader.scan


@dataclass
class _Reader:
    """One pass over a category's folders."""

    root: Path
    folder: str
    words: ClassFolders
    exclusions: Exclusions
    scan: Scan = field(default_factory=Scan)

    def read_normals(self, split: Split) -> None:
        """``train`` and ``validation`` hold normal images only."""
        for name in self._classes(split):
            folder = f"{self.folder}/{split}/{name}"
            if self._is_normal(name):
                images = self.exclusions.apply(list_images(self.scan, self.root, folder))
                self.scan.images += [FoundImage(image, split, 0, "good") for image in images]
            else:
                expected = " or ".join(self.words.normal)
                self.scan.complain(folder, f"{split} holds normal images only; expected {expected}")

    def read_test(self) -> None:
        """Normals and defects, the latter with their masks."""
        defects = []
        for name in self._classes(self.words.test):
            found = list_images(self.scan, self.root, f"{self.folder}/{self.words.test}/{name}")
            images = self.exclusions.apply(found)
            if self._is_normal(name):
                self.scan.images += [FoundImage(image, "test", 0, "good") for image in images]
            else:
                defects.append(name)
                self._read_defect(name, images, sorted(set(found) - set(images)))
        self._refuse_unused_masks(defects)

    def _read_defect(self, defect: str, images: list[str], excluded: list[str]) -> None:
        folder = f"{self.folder}/{self.words.ground_truth}/{defect}"
        masks = self.words.find_masks(self.scan, self.root, folder, images, excluded)
        self.scan.images += [
            FoundImage(image, "test", 1, defect, masks.get(image, ()))
            for image in images
            if image in masks or image in self.scan.without_mask
        ]

    def _is_normal(self, name: str) -> bool:
        return name.lower() in self.words.normal

    def _classes(self, split: str) -> list[str]:
        """A split's class folders; a missing or empty split, and images beside the classes, are problems."""
        folder, expected = f"{self.folder}/{split}", f"{self.folder}/{split}/{self.words.normal[0]}/"
        if not is_folder(self.root / folder):
            self.scan.complain(folder, f"no such folder; expected {expected} with images")
            return []
        refuse_loose(self.scan, folder, list_files(self.root / folder), "image", "<class>")
        masks = f"{self.folder}/{self.words.ground_truth}"
        names = [name for name in subfolders(self.root / folder) if f"{folder}/{name}" != masks]
        if not names:
            self.scan.complain(folder, f"empty; expected {expected} with images")
        return names

    def _refuse_unused_masks(self, defects: list[str]) -> None:
        """Everything in ``ground_truth`` belongs to a defective image."""
        masks = f"{self.folder}/{self.words.ground_truth}"
        if not is_folder(self.root / masks):
            return
        refuse_loose(self.scan, masks, list_files(self.root / masks), "mask", "<defect>")
        for name in subfolders(self.root / masks):
            folder = f"{masks}/{name}"
            if name in defects or not (list_files(self.root / folder) or subfolders(self.root / folder)):
                continue
            if self._is_normal(name):
                self.scan.complain(folder, "masks of normal images; expected none, take them away")
            else:
                images = f"{self.folder}/{self.words.test}/{name}"
                self.scan.complain(folder, f"masks without images; expected their images in {images}")
