"""The image files that annotations speak of: found by path, or by a name that only one of them has."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath

from uad_orchestrator.datasets.annotations.annotation_files import EntryError, files_below
from uad_orchestrator.datasets.annotations.marks import AnnotatedImage
from uad_orchestrator.images.decode import IMAGE_SUFFIXES

IMPORTED_MASKS = "imported_masks"
"""The folder that imports write masks to."""

_MASK_FOLDERS = frozenset(
    (
        IMPORTED_MASKS,
        "mask",
        "masks",
        "ground_truth",
        "groundtruth",
        "segmentationclass",
        "segmentationobject",
    )
)


class ImageFolder:
    """All image files below a folder, but those in folders that are named for masks.

    Args:
        root: the folder.

    Attributes:
        paths: the images, posix, relative to the folder, sorted.
        passed_over: how many lie in folders of masks.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - ".." goes, links stay
        every = [path.relative_to(self.root) for path in files_below(self.root, IMAGE_SUFFIXES)]
        kept = [path for path in every if _MASK_FOLDERS.isdisjoint(part.lower() for part in path.parts[:-1])]
        self.paths = sorted(path.as_posix() for path in kept)
        self.passed_over = len(every) - len(kept)
        self._known = set(self.paths)
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, image: AnnotatedImage) -> str:
        """The file an annotation means: its path is tried from the annotation's folder and from this one.

        Below this one that is in the folders of the same names as the annotation file lies in, if it says so. Where
        there is no such path, the file whose path ends as the annotation's, or the other way round, is taken if it is
        the only one.

        Args:
            image: what the annotation says.

        Returns:
            One of ``paths``.

        Raises:
            EntryError: none, several, or one outside of the folder.
        """
        name = image.file if "/" in image.file else image.file.replace("\\", "/")
        inside = [
            path
            for base in (image.source.parent, self.root / image.folder)
            if (path := self._inside(base, name)) is not None
        ]
        if not inside:
            raise EntryError(
                f"{image.file} leaves {self.root}; expected a path below it (--images says another folder)"
            )
        found = sorted(self._known.intersection(inside))
        if not found:
            found = self._ending_as(self._inside(self.root, name) or inside[-1])
        if not found:
            raise EntryError(f"{image.file}: no such image below {self.root} (--images says another folder)")
        if len(found) > 1:
            raise EntryError(f"{image.file} may be {', '.join(found[:5])}; expected the path of one of them")
        return found[0]

    def _inside(self, base: Path, name: str) -> str | None:
        """A path relative to the folder; None where it leads out of it."""
        if PureWindowsPath(name).drive:
            return None
        path = Path(os.path.normpath(Path(os.path.abspath(base), name)))  # noqa: PTH100
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else None

    def _ending_as(self, name: str) -> list[str]:
        same_name = self._by_name.get(name.rpartition("/")[2], [])
        return [p for p in same_name if f"/{p}".endswith(f"/{name}") or f"/{name}".endswith(f"/{p}")]
