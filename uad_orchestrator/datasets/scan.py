"""Looking at a dataset's folders: names only, no file is opened. What does not fit becomes a DatasetProblem.

Every layout's ``scan_category`` gives a ``Scan``: all images found and all problems found, so that a user
sees every fault at once.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uad_orchestrator.datasets.defects_config import DefectKind
from uad_orchestrator.datasets.manifest import Box, Split
from uad_orchestrator.datasets.problems import DatasetError, DatasetProblem
from uad_orchestrator.images.decode import IMAGE_SUFFIXES

NORMAL_WORDS = ("good", "normal", "ok")
"""What people call normal images, in lower case; published sets say ``good``."""

_IMPORTS = {
    ".json": "coco (or labelme)",
    ".jsonl": "coco (or labelme)",
    ".xml": "voc",
    ".csv": "csv",
    ".txt": "yolo",
}
_IMPORTS |= dict.fromkeys((".yaml", ".yml"), "yolo")
"""What `uad import` calls the files of an extension."""

_CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")  # left by file managers; hidden files are skipped as well


@dataclass(frozen=True)
class FoundImage:
    """An image as its layout describes it; paths are posix, relative to the dataset's root.

    Attributes:
        path: the image file.
        split: what it is used for.
        label: 0 normal, 1 anomalous, -1 where none is published.
        defect_type: ``good`` for normals, ``unknown`` without a label, else the dataset's own word.
        masks: its mask files.
        group_id: the physical part it shows, where the dataset says so.
        boxes: where its defects are, if they are known by boxes only.
    """

    path: str
    split: Split
    label: int
    defect_type: str
    masks: tuple[str, ...] = ()
    group_id: str | None = None
    boxes: tuple[Box, ...] = ()


@dataclass
class Scan:
    """What a category's folders hold; the lists grow while a layout is read.

    Attributes:
        images: the images found.
        problems: what does not fit the layout; with any, the category cannot be used.
        warnings: what is for the user to judge.
        without_mask: those of ``problems`` that are a defective image without a mask, by its path.
        notes: what a reader of results must know: splits of our own making, splits without ground truth.
        defects: the entries of MVTec LOCO's defects_config.json.
    """

    images: list[FoundImage] = field(default_factory=list)
    problems: list[DatasetProblem] = field(default_factory=list)
    warnings: list[DatasetProblem] = field(default_factory=list)
    without_mask: dict[str, DatasetProblem] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    defects: tuple[DefectKind, ...] = ()

    def complain(self, path: str, message: str) -> None:
        """Note a fault and read on.

        Args:
            path: posix path relative to the dataset's root.
            message: what is wrong, what was expected there, what to do.
        """
        self.problems.append(DatasetProblem(path, message))

    def lacks_mask(self, image: str, message: str) -> None:
        """Note a defective image without a mask: a fault, unless masks are optional and it is in ``images``.

        Args:
            image: its path.
            message: what was expected.
        """
        self.without_mask[image] = DatasetProblem(image, message)
        self.problems.append(self.without_mask[image])

    def warn(self, path: str, message: str) -> None:
        """Note what is odd, and does not keep the category from being used.

        Args:
            path: posix path relative to the dataset's root.
            message: what is odd, what it means for the results, what to do.
        """
        self.warnings.append(DatasetProblem(path, message, "warning"))


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder.

    Args:
        folder: the folder to list.

    Returns:
        The names, sorted; hidden ones and file managers' clutter left out.

    Raises:
        DatasetError: ``folder`` cannot be listed, e.g. because a share is not mounted.
    """
    return files_and_folders(folder)[1]


def list_files(folder: Path) -> list[str]:
    """Names of the files in ``folder``, sorted, clutter left out; errors as ``subfolders``."""
    return files_and_folders(folder)[0]


def files_and_folders(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in ``folder``, listed once; as ``list_files`` and ``subfolders``."""
    entries = _entries(folder)
    return [n for n, is_folder in entries if not is_folder], [n for n, is_folder in entries if is_folder]


def is_image_name(name: str) -> bool:
    """Whether the extension, in any case, is one of those that are read."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def holds_images(folder: Path) -> bool:
    """Whether there is an image somewhere below a folder, by its name."""
    return any(is_image_name(name) for _, _, names in os.walk(folder) for name in names)


def is_annotation_name(name: str) -> bool:
    """Whether the extension is one that annotation files have."""
    return Path(name).suffix.lower() in _IMPORTS


def note_annotations(scan: Scan, folder: str, names: Sequence[str]) -> None:
    """Say that annotation files of a folder are passed over, if there are any.

    Args:
        scan: takes the warning.
        folder: relative to the root.
        names: of the files.
    """
    if not names:
        return
    kind, _ = Counter(_IMPORTS[Path(name).suffix.lower()] for name in names).most_common(1)[0]
    shown = names[0] if len(names) == 1 else f"{len(names)} files ({names[0]}, ...)"
    scan.warn(
        folder,
        f"{shown}: annotations are passed over; `uad import {kind}` makes masks and a manifest of them",
    )


def list_images(scan: Scan, root: Path, folder: str, *, may_be_empty: bool = False) -> list[str]:
    """The image files of a folder. Annotation files are passed over, with a word; anything else in it is a problem.

    Args:
        scan: takes the problems.
        root: the dataset's folder.
        folder: the one to list, relative to the root.
        may_be_empty: whether no image at all is fine.

    Returns:
        The images' paths relative to the root, sorted.

    Raises:
        DatasetError: the folder cannot be listed.
    """
    found, annotations = [], []
    entries = _entries(root / folder)
    stems = {stem(name) for name, _ in entries if is_image_name(name)}
    for name, is_folder in entries:
        path = f"{folder}/{name}"
        if is_folder:
            scan.complain(path, "a folder among the images; expected image files only")
        elif is_annotation_name(name) and (not name.lower().endswith(".txt") or stem(name) in stems):
            annotations.append(name)
        elif not is_image_name(name):
            scan.complain(path, f"not an image; expected {', '.join(IMAGE_SUFFIXES)}; move it elsewhere")
        else:
            found.append(path)
    note_annotations(scan, folder, annotations)
    if not found and not may_be_empty:
        scan.complain(folder, "no images; expected at least one")
    return found


def match_masks(
    scan: Scan,
    images: Sequence[str],
    masks: Iterable[str],
    *,
    suffixes: Sequence[str],
    expected: str,
    excluded: Iterable[str] = (),
) -> dict[str, str]:
    """Pair images with masks by stem, whatever extension and case; each image has one, each mask is used.

    Args:
        scan: takes the images without a mask, and a problem for each mask without an image and each doubtful pair.
        images: anomalous images of one folder.
        masks: the mask files that may belong to them.
        suffixes: what a mask's stem has behind the image's, e.g. ``("_mask", "")``.
        expected: a mask's usual path, with ``{stem}``, for messages.
        excluded: images left out by the user: their masks are no surplus.

    Returns:
        The mask of each image that has one, by the image's path.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for mask in masks:
        by_stem[stem(mask)].append(mask)
    used: set[str] = set()
    pairs: dict[str, str] = {}
    kept = set(images)
    for image in [*images, *excluded]:
        candidates = [mask for suffix in suffixes for mask in by_stem.get(stem(image) + suffix.lower(), [])]
        used.update(candidates)
        if len(candidates) == 1:
            pairs[image] = candidates[0]
        elif image in kept and not candidates:
            wanted = expected.format(stem=Path(image).stem)
            scan.lacks_mask(image, f"has no mask; expected {wanted} (or another image extension)")
        elif image in kept:
            scan.complain(image, f"has several masks ({', '.join(candidates)}); expected one")
    refuse_surplus(scan, set().union(*by_stem.values()) - used)
    return {image: pairs[image] for image in images if image in pairs}


def refuse_surplus(scan: Scan, masks: Iterable[str]) -> None:
    """Masks that belong to no image: a file is missing, or lies in the wrong folder."""
    for mask in sorted(masks):
        scan.complain(mask, "a mask without an image of the same stem")


def refuse_equal_stems(scan: Scan) -> None:
    """Masks and anomaly maps are filed by stem: two test images of one folder and defect type must differ in it."""
    first: dict[tuple[str, str, str], str] = {}
    for image in sorted(scan.images, key=lambda found: found.path):
        if image.split in ("train", "validation"):
            continue
        name = image.path.rpartition(".")[0].lower()
        other = first.setdefault((image.split, image.defect_type, name), image.path)
        if other != image.path:
            message = f"has the same stem as {other}, and the same defect type; rename one of them"
            scan.complain(image.path, message)


def stem(path: str) -> str:
    """A file's name without folder and extension, in lower case, for matching."""
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path.

    Args:
        path: the path.

    Returns:
        True for a folder, False for a file or nothing.

    Raises:
        DatasetError: that cannot be found out, e.g. because of permissions.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise DatasetError(f"{path} cannot be reached: {error.strerror or error}") from error


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """``(name, is a folder)`` of what a folder holds, sorted by name, without clutter."""
    try:
        with os.scandir(folder) as entries:
            listed = [(entry.name, entry.is_dir()) for entry in entries]
    except FileNotFoundError:
        raise DatasetError(f"{folder}: no such folder") from None
    except NotADirectoryError:
        raise DatasetError(f"{folder}: a file; expected a folder") from None
    except OSError as error:
        raise DatasetError(f"{folder} cannot be reached: {error.strerror or error}") from error
    return sorted((n, d) for n, d in listed if not n.startswith(".") and n.lower() not in _CLUTTER)
