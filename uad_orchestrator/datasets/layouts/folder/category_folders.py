"""What lies in a category's folders, by their names: classes, their images, and what does not belong there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uad_orchestrator.datasets.layouts.folder.words import (
    GROUND_TRUTH,
    MASK_SUFFIXES,
    NO_IMAGES,
    READ,
    TRAIN,
    VALIDATION,
    plain,
)
from uad_orchestrator.datasets.layouts.loose_images import refuse_loose
from uad_orchestrator.datasets.scan import (
    NORMAL_WORDS,
    Scan,
    files_and_folders,
    holds_images,
    is_annotation_name,
    is_image_name,
    note_annotations,
    stem,
)
from uad_orchestrator.images.header import FORMAT_WORDS

Grouped = Mapping[str, str | None]
"""Files by path, each with the folder below its class that it lies in; None for the class itself."""


@dataclass
class CategoryFolders:
    """The folders of a category; what fits nowhere is a problem of the scan."""

    root: Path
    category: str
    scan: Scan
    _listed: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)

    def has(self, words: Sequence[str]) -> bool:
        """Whether there is a folder of one of these names."""
        return bool(self._named(words))

    def classes(self, words: Sequence[str], *, loose: bool = True) -> tuple[str, list[str]]:
        """A folder of the category by one of its names, and the names of those in it; none where it is not there."""
        names = self._named(words)
        folder = f"{self.category}/{names[0] if names else words[0]}"
        if not names:
            return folder, []
        if len(names) > 1 and loose:
            also = ", ".join(names[1:])
            self.scan.complain(folder, f"stands beside {also}, which means the same; keep one of them")
        files, folders = self._list(folder)
        if loose:
            self._refuse_loose(folder, files, words)
        return folder, folders

    def has_loose(self, folder: str) -> bool:
        """Whether images lie in a folder beside the classes."""
        return any(map(is_image_name, self._list(folder)[0]))

    def images(self, folder: str, *, of_masks: bool = False) -> dict[str, str | None]:
        """The images of a class and of the folders below it, each with the folder it lies in as its group."""
        found: dict[str, str | None] = {}
        self._walk(folder, None, found, of_masks)
        return found

    def name_unread(self) -> None:
        """Folders beside those that are read: somebody may take their images for part of the set."""
        for name in self._list(self.category)[1]:
            folder = f"{self.category}/{name}"
            if plain(name) in READ or not holds_images(self.root / folder):
                continue
            expected = "train, validation, test and ground_truth (for masks)"
            self.scan.warn(folder, f"its images are not read; those in {expected} are")

    def _refuse_loose(self, folder: str, files: Sequence[str], words: Sequence[str]) -> None:
        """Images beside the folders of classes: whether they are good is what such a folder says."""
        if words == GROUND_TRUTH:
            refuse_loose(self.scan, folder, files, "mask", "<defect>")
        else:
            expected = NORMAL_WORDS[0] if words in (TRAIN, VALIDATION) else "<class>"
            refuse_loose(self.scan, folder, files, "image", expected)

    def _named(self, words: Sequence[str]) -> list[str]:
        """The category's folders that have one of these names, however they are written."""
        return [name for name in self._list(self.category)[1] if plain(name) in words]

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        """The files and the folders in a folder, which is looked at once."""
        if folder not in self._listed:
            self._listed[folder] = files_and_folders(self.root / folder)
        return self._listed[folder]

    def _walk(self, folder: str, group: str | None, found: dict[str, str | None], of_masks: bool) -> None:
        passed_over = []
        files, folders = self._list(folder)
        for name in files:
            if is_image_name(name):
                found[f"{folder}/{name}"] = group
            elif is_annotation_name(name):
                passed_over.append(name)
            else:
                message = (
                    f"not an image that is read; expected {FORMAT_WORDS}: convert it, or move it elsewhere"
                )
                self.scan.complain(f"{folder}/{name}", message)
        note_annotations(self.scan, folder, passed_over)
        if not of_masks:
            self._refuse_masks_beside(folder, files)
        for name in folders:
            below = f"{folder}/{name}"
            if _leads_back(self.root / below):
                self.scan.complain(below, "a link to a folder that it lies in; take it away")
                continue
            if of_masks or plain(name) not in NO_IMAGES:
                self._walk(below, f"{group}/{name}" if group else name, found, of_masks)
                continue
            inner: dict[str, str | None] = {}
            self._walk(below, name, inner, of_masks)
            if inner:
                expected = f"{self.category}/{GROUND_TRUTH[0]}/{Path(folder).name}"
                self.scan.complain(
                    below, f"{len(inner)} images that look like masks; expected masks in {expected}"
                )

    def _refuse_masks_beside(self, folder: str, files: Sequence[str]) -> None:
        """``000_mask.png`` beside ``000.png``: as an image it would be fitted, or scored as a defect."""
        images = [name for name in files if is_image_name(name)]
        stems = {stem(name) for name in images}
        masks = [name for name in images if stem(name).removesuffix(MASK_SUFFIXES[0]) in stems - {stem(name)}]
        if masks:
            expected = f"{self.category}/{GROUND_TRUTH[0]}/{folder.split('/')[2]}"
            shown = masks[0] if len(masks) == 1 else f"{len(masks)} images ({masks[0]}, ...)"
            self.scan.complain(folder, f"masks beside their images: {shown}; expected them in {expected}")


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one of those above it: walking on would come by for ever."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
