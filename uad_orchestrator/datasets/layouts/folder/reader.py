"""From the folders of a category to its scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layouts.folder.category_folders import CategoryFolders, Grouped
from uad_orchestrator.datasets.layouts.folder.masks import Masks
from uad_orchestrator.datasets.layouts.folder.settings import FolderSettings
from uad_orchestrator.datasets.layouts.folder.words import GROUND_TRUTH, TEST, TRAIN, VALIDATION, plain
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import NORMAL_WORDS, FoundImage, Scan, is_folder, subfolders

VERSION = 1


def find_categories(root: Path, settings: FolderSettings) -> list[str]:
    """The folders below ``root`` that have a ``train`` folder, in any case, sorted."""
    return [name for name in subfolders(root) if is_category(root / name)]


def is_category(folder: Path) -> bool:
    """Whether a folder has a ``train`` folder, in any case."""
    return is_folder(folder / "train") or any(plain(name) in TRAIN for name in subfolders(folder))


def scan_category(root: Path, category: str, exclusions: Exclusions, settings: FolderSettings) -> Scan:
    """All images of a category, and everything that does not fit the layout."""
    scan = Scan()
    folders = CategoryFolders(root, category, scan)
    reader = _Reader(folders, settings, exclusions, scan)
    reader.read_normals("train", TRAIN)
    if folders.has(VALIDATION):
        reader.read_normals("validation", VALIDATION)
    masks = Masks(folders)
    reader.read_test(masks)
    masks.refuse_unused()
    _one_group_is_none(scan)
    folders.name_unread()
    return scan


@dataclass
class _Reader:
    """One pass over a category's folders."""

    folders: CategoryFolders
    settings: FolderSettings
    exclusions: Exclusions
    scan: Scan

    def read_normals(self, split: Split, words: Sequence[str]) -> None:
        """``train`` and ``validation`` hold normal images only."""
        folder, classes = self.folders.classes(words)
        if not classes and not (self.folders.has(words) and self.folders.has_loose(folder)):
            expected = f"{self.folders.category}/{words[0]}/{NORMAL_WORDS[0]}/"
            what = "empty" if self.folders.has(words) else "no such folder"
            self.scan.complain(folder, f"{what}; expected {expected} with images")
        for name in classes:
            if not self.settings.trained(name):
                message = (
                    f"{split} holds normal images only; expected {self.settings.expected}; another word for "
                )
                self.scan.complain(f"{folder}/{name}", f"{message}normals is given by normal_folders")
                continue
            images = self.folders.images(f"{folder}/{name}")
            if not images:
                self.scan.complain(f"{folder}/{name}", "no images; expected at least one")
            self._refuse_classes_below(folder, name, images, defective=False)
            self.scan.images += [
                FoundImage(image, split, 0, "good", (), group)
                for image, group in images.items()
                if not self.exclusions.excludes(image)
            ]

    def read_test(self, masks: Masks) -> None:
        """Normals and defects with their masks, where there are any."""
        folder, classes = self.folders.classes(TEST)
        for name in classes:
            if self.settings.masked(name):
                expected = f"{self.folders.category}/{GROUND_TRUTH[0]}/<defect>/"
                message = f"a folder of masks among the classes; expected {expected}"
                self.scan.complain(
                    f"{folder}/{name}", f"{message}; a defect of that name stands in defect_folders"
                )
                continue
            defective = self.settings.tested(name)
            if defective is None:
                self.scan.complain(f"{folder}/{name}", self.settings.neither(name))
                continue
            found = self.folders.images(f"{folder}/{name}")
            self._refuse_classes_below(folder, name, found, defective=defective)
            if not found:
                self.scan.warn(f"{folder}/{name}", "no images: an empty folder")
            kept = {image: group for image, group in found.items() if not self.exclusions.excludes(image)}
            pairs = masks.match(name, found, kept, defective=defective)
            kind = name if defective else "good"
            self.scan.images += [
                FoundImage(image, "test", int(defective), kind, pairs.get(image, ()), group)
                for image, group in kept.items()
            ]

    def _refuse_classes_below(self, folder: str, name: str, images: Grouped, *, defective: bool) -> None:
        """A class below a camera, where a camera below a class is read: its images would get the wrong label."""
        below = {part for group in images.values() if group for part in group.split("/")}
        for part in sorted(below):
            if self.settings.misplaced(part, defective=defective):
                kinds = (
                    "normals below a class of defects" if defective else "defects below a class of normals"
                )
                message = f"a folder of {kinds}; expected {folder}/{part}/{name}/"
                self.scan.complain(
                    f"{folder}/{name}/{part}", f"{message}, the class above its cameras or lots"
                )


def _one_group_is_none(scan: Scan) -> None:
    """Where all of train is one group it tells nothing apart, and could not be left out for calibration."""
    trained = {image.group_id for image in scan.images if image.split == "train"}
    if len(trained) == 1:
        scan.images = [
            replace(image, group_id=None) if image.split == "train" else image for image in scan.images
        ]
