"""A user's own images in folders: MVTec AD's arrangement, read generously.

``<category>/train/<normal>``, optionally ``<category>/validation/<normal>`` and ``<category>/test/<class>``, masks
optionally in ``<category>/ground_truth/<class>/<stem>[_mask].<ext>``; names in any case. A folder below a class, per
camera or per lot, is the group of its images. What is missing is left out of the results, never an error by itself.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import field_validator, model_validator

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import (
    NORMAL_WORDS,
    FoundImage,
    Scan,
    files_and_folders,
    holds_images,
    is_annotation_name,
    is_folder,
    is_image_name,
    note_annotations,
    refuse_surplus,
    stem,
    subfolders,
)
from uad_orchestrator.images.header import FORMAT_WORDS

VERSION = 1
_TRAIN, _TEST = ("train",), ("test",)
_VALIDATION = ("validation", "valid", "val")
_GROUND_TRUTH = ("ground_truth", "groundtruth")
_MASK_SUFFIXES = ("_mask", "")
_MASKS = (*_GROUND_TRUTH, "gt", "mask", "masks")
_NO_IMAGES = (*_MASKS, "label", "labels", "annotation", "annotations")
_READ = (*_TRAIN, *_VALIDATION, *_TEST, *_GROUND_TRUTH)

Grouped = Mapping[str, str | None]
"""Files by path, each with the folder below its class that it lies in; None for the class itself."""


class FolderSettings(LayoutSettings):
    """Which folders of ``test`` hold normals, and which defects, where their names do not say it.

    Attributes:
        normal_folders: folders of normals; default: good, normal and ok.
        defect_folders: folders of defects; default: all others.
    """

    normal_folders: tuple[str, ...] | None = None
    defect_folders: tuple[str, ...] | None = None

    @field_validator("normal_folders", "defect_folders", mode="before")
    @classmethod
    def _one_name(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @model_validator(mode="after")
    def _apart(self) -> FolderSettings:
        normal, defects = (
            {name.lower() for name in names or ()} for names in (self.normal_folders, self.defect_folders)
        )
        if both := sorted(normal & defects):
            raise ValueError(
                f"{both[0]!r} stands in normal_folders and in defect_folders; take it out of one of them"
            )
        for key in ("normal_folders", "defect_folders"):
            for name in getattr(self, key) or ():
                if not name.strip() or "/" in name:
                    raise ValueError(
                        f"{key} holds {name!r}; expected names of folders below test, e.g. scratch"
                    )
        return self

    def trained(self, name: str) -> bool:
        """Whether a folder of ``train`` or ``validation`` holds normals."""
        return name.lower() in self._normal_words and name.lower() not in _lower(self.defect_folders)

    def tested(self, name: str) -> bool | None:
        """Whether a folder of ``test`` holds defects; None where the settings leave that open."""
        name, normal, defects = name.lower(), _lower(self.normal_folders), _lower(self.defect_folders)
        if name in normal or name in defects:
            return name in defects
        if name in NORMAL_WORDS:
            return None if normal else False
        return None if defects else True

    def misplaced(self, name: str, *, defective: bool) -> bool:
        """Whether a folder below a class says the other thing than the class does: it is no camera and no lot."""
        if defective:
            return self.tested(name) is False
        return name.lower() in _lower(self.defect_folders)

    @property
    def expected(self) -> str:
        """The names of folders of normals, for messages."""
        return " or ".join(dict.fromkeys(self._normal_words))

    @property
    def _normal_words(self) -> tuple[str, ...]:
        return (*_lower(self.normal_folders), *NORMAL_WORDS)


def find_categories(root: Path, settings: FolderSettings) -> list[str]:
    """The folders below ``root`` that have a ``train`` folder, in any case, sorted."""
    return [name for name in subfolders(root) if is_category(root / name)]


def is_category(folder: Path) -> bool:
    """Whether a folder has a ``train`` folder, in any case."""
    return is_folder(folder / "train") or any(_plain(name) in _TRAIN for name in subfolders(folder))


def scan_category(root: Path, category: str, exclusions: Exclusions, settings: FolderSettings) -> Scan:
    """All images of a category, and everything that does not fit the layout."""
    reader = _Reader(root, category, settings, exclusions)
    reader.read_normals("train", _TRAIN)
    if reader.has(_VALIDATION):
        reader.read_normals("validation", _VALIDATION)
    masks = reader.masks()
    reader.read_test(masks)
    reader.refuse_unused(masks)
    reader.one_group_is_none()
    reader.name_unread()
    return reader.scan


def defect_folder_fault(name: str, settings: FolderSettings) -> str | None:
    """Why a folder of ``test`` would not be read as one of defects; None: it would.

    >>> defect_folder_fault("OK", FolderSettings()), defect_folder_fault("scratch", FolderSettings())
    ('it is a word for normal images', None)
    """
    if _plain(name) in _MASKS and name.lower() not in _lower(settings.defect_folders):
        return "a folder of that name is taken for masks"
    if (defective := settings.tested(name)) is None:
        return (
            "it stands neither in `normal_folders` nor in `defect_folders` of uad.yaml: add it to the latter"
        )
    return None if defective else "it is a word for normal images"


@dataclass
class _Reader:
    """One pass over a category's folders."""

    root: Path
    category: str
    settings: FolderSettings
    exclusions: Exclusions
    scan: Scan = field(default_factory=Scan)
    _mask_folder: str = ""
    _listed: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)

    def has(self, words: Sequence[str]) -> bool:
        """Whether there is a folder of one of these names."""
        return bool(self._named(words))

    def read_normals(self, split: Split, words: Sequence[str]) -> None:
        """``train`` and ``validation`` hold normal images only."""
        folder, classes = self._classes(words)
        if not classes and not any(map(is_image_name, self._list(folder)[0] if self.has(words) else ())):
            expected = f"{self.category}/{words[0]}/{NORMAL_WORDS[0]}/"
            what = "empty" if self.has(words) else "no such folder"
            self.scan.complain(folder, f"{what}; expected {expected} with images")
        for name in classes:
            if not self.settings.trained(name):
                message = (
                    f"{split} holds normal images only; expected {self.settings.expected}; another word for "
                )
                self.scan.complain(f"{folder}/{name}", f"{message}normals is given by normal_folders")
                continue
            images = self._images(f"{folder}/{name}")
            if not images:
                self.scan.complain(f"{folder}/{name}", "no images; expected at least one")
            self._refuse_classes_below(folder, name, images, defective=False)
            self.scan.images += [
                FoundImage(image, split, 0, "good", (), group)
                for image, group in images.items()
                if not self.exclusions.excludes(image)
            ]

    def masks(self) -> dict[str, Grouped]:
        """The mask files of each class, by its name in lower case."""
        folder, classes = self._classes(_GROUND_TRUTH)
        self._mask_folder = folder
        found: dict[str, Grouped] = {}
        for name in classes:
            if name.lower() in found:
                self.scan.complain(
                    f"{folder}/{name}", "stands beside a folder that differs in case only; keep one"
                )
            found[name.lower()] = self._images(f"{folder}/{name}", of_masks=True)
        return found

    def read_test(self, masks: Mapping[str, Grouped]) -> None:
        """Normals and defects with their masks, where there are any."""
        folder, classes = self._classes(_TEST)
        for name in classes:
            if _plain(name) in _MASKS and name.lower() not in _lower(self.settings.defect_folders):
                message = f"a folder of masks among the classes; expected {self.category}/{_GROUND_TRUTH[0]}/<defect>/"
                self.scan.complain(
                    f"{folder}/{name}", f"{message}; a defect of that name stands in defect_folders"
                )
                continue
            defective = self.settings.tested(name)
            if defective is None:
                self.scan.complain(f"{folder}/{name}", self._neither(name))
                continue
            found = self._images(f"{folder}/{name}")
            self._refuse_classes_below(folder, name, found, defective=defective)
            if not found:
                self.scan.warn(f"{folder}/{name}", "no images: an empty folder")
            kept = {image: group for image, group in found.items() if not self.exclusions.excludes(image)}
            pairs = self._match(found, kept, masks.get(name.lower(), {}), name if defective else None)
            kind = name if defective else "good"
            self.scan.images += [
                FoundImage(image, "test", int(defective), kind, pairs.get(image, ()), group)
                for image, group in kept.items()
            ]

    def refuse_unused(self, masks: Mapping[str, Grouped]) -> None:
        """Everything in ``ground_truth`` belongs to a class of ``test``."""
        tested, classes = self._classes(_TEST, loose=False)
        for name in self._classes(_GROUND_TRUTH, loose=False)[1]:
            if name.lower() not in {other.lower() for other in classes} and masks[name.lower()]:
                message = f"masks without images; expected their images in {tested}/{name}"
                self.scan.complain(f"{self._mask_folder}/{name}", message)

    def one_group_is_none(self) -> None:
        """Where all of train is one group it tells nothing apart, and could not be left out for calibration."""
        trained = {image.group_id for image in self.scan.images if image.split == "train"}
        if len(trained) == 1:
            self.scan.images = [
                replace(image, group_id=None) if image.split == "train" else image
                for image in self.scan.images
            ]

    def name_unread(self) -> None:
        """Folders beside those that are read: somebody may take their images for part of the set."""
        for name in self._list(self.category)[1]:
            folder = f"{self.category}/{name}"
            if _plain(name) in _READ or not holds_images(self.root / folder):
                continue
            expected = "train, validation, test and ground_truth (for masks)"
            self.scan.warn(folder, f"its images are not read; those in {expected} are")

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

    def _neither(self, name: str) -> str:
        normal, defects = (
            f"{key} ({', '.join(names)})" if names else key
            for key, names in (
                ("normal_folders", self.settings.normal_folders),
                ("defect_folders", self.settings.defect_folders),
            )
        )
        return f"{name!r} stands neither in {normal} nor in {defects}; add it to one of them"

    def _classes(self, words: Sequence[str], *, loose: bool = True) -> tuple[str, list[str]]:
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
            self._refuse_loose(folder, [name for name in files if is_image_name(name)], words)
        return folder, folders

    def _refuse_loose(self, folder: str, images: Sequence[str], words: Sequence[str]) -> None:
        """Images beside the folders of classes: whether they are good is what such a folder says."""
        if not images:
            return
        what, below = ("mask", "<defect>") if words == _GROUND_TRUTH else ("image", "<class>")
        if words in (_TRAIN, _VALIDATION):
            below = NORMAL_WORDS[0]
        counted = (
            f"{'an' if what == 'image' else 'a'} {what}" if len(images) == 1 else f"{len(images)} {what}s"
        )
        place = f"{folder}/{images[0]}"
        self.scan.complain(place, f"{counted} outside the classes; expected {folder}/{below}/{images[0]}")

    def _named(self, words: Sequence[str]) -> list[str]:
        """The category's folders that have one of these names, however they are written."""
        return [name for name in self._list(self.category)[1] if _plain(name) in words]

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        """The files and the folders in a folder, which is looked at once."""
        if folder not in self._listed:
            self._listed[folder] = files_and_folders(self.root / folder)
        return self._listed[folder]

    def _images(self, folder: str, *, of_masks: bool = False) -> dict[str, str | None]:
        """The images of a class and of the folders below it, each with the folder it lies in as its group."""
        found: dict[str, str | None] = {}
        self._walk(folder, None, found, of_masks)
        return found

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
            if of_masks or _plain(name) not in _NO_IMAGES:
                self._walk(below, f"{group}/{name}" if group else name, found, of_masks)
                continue
            inner: dict[str, str | None] = {}
            self._walk(below, name, inner, of_masks)
            if inner:
                expected = f"{self.category}/{_GROUND_TRUTH[0]}/{Path(folder).name}"
                self.scan.complain(
                    below, f"{len(inner)} images that look like masks; expected masks in {expected}"
                )

    def _refuse_masks_beside(self, folder: str, files: Sequence[str]) -> None:
        """``000_mask.png`` beside ``000.png``: as an image it would be fitted, or scored as a defect."""
        images = [name for name in files if is_image_name(name)]
        stems = {stem(name) for name in images}
        masks = [
            name for name in images if stem(name).removesuffix(_MASK_SUFFIXES[0]) in stems - {stem(name)}
        ]
        if masks:
            expected = f"{self.category}/{_GROUND_TRUTH[0]}/{folder.split('/')[2]}"
            shown = masks[0] if len(masks) == 1 else f"{len(masks)} images ({masks[0]}, ...)"
            self.scan.complain(folder, f"masks beside their images: {shown}; expected them in {expected}")

    def _match(
        self, found: Grouped, kept: Grouped, masks: Grouped, defect: str | None
    ) -> dict[str, tuple[str, ...]]:
        """The mask of each image, from the folder of its group or else from that of the class.

        Args:
            found: the images of a class, those left out by the user too: their masks are no surplus.
            kept: those that stay.
            masks: the mask files of the class.
            defect: the class; None for normals, which need no mask.
        """
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
            elif defect is not None:
                expected = f"{self._mask_folder}/{defect}/{Path(image).stem}_mask.png"
                self.scan.lacks_mask(image, f"has no mask; expected {expected} (or another image extension)")
        surplus = masks.keys() - owner.keys()
        if defect is None:  # some tools write masks of all normals, those of train too
            trained = {stem(image.path) for image in self.scan.images if image.split != "test"}
            surplus = {mask for mask in surplus if stem(mask).removesuffix(_MASK_SUFFIXES[0]) not in trained}
        refuse_surplus(self.scan, surplus)
        return pairs


def _candidates(
    by_place: Mapping[tuple[str | None, str], list[str]], image: str, group: str | None
) -> list[str]:
    for place in dict.fromkeys((group, None)):
        found = [mask for suffix in _MASK_SUFFIXES for mask in by_place.get((place, image + suffix), [])]
        if found:
            return found
    return []


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one of those above it: walking on would come by for ever."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _lower(names: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(name.lower() for name in names or ())


def _lowered(group: str | None) -> str | None:
    return None if group is None else os.path.normcase(group).lower()
