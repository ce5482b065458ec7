"""Where judged images go: normals to ``incoming``, defects among the test images of their type.

A file's name holds the first digits of its content's digest, so that doing it twice is doing it once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from uad_orchestrator.datasets.scan import is_image_name
from uad_orchestrator.images.decode import ImageError, read_image
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.review.judgement import Judgement, Verdict
from uad_orchestrator.storage.atomic import new_file, sync
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.file_names import file_path, name_with_digest, printable


class CannotJudge(ValueError):
    """A judgement that cannot be made, or taken back; the message says why, and what to do. Nothing was changed."""


class KnownImage(NamedTuple):
    """An image that the dataset has: its path below the root, and whether it shows a defect; None: it is excluded."""

    path: str
    defective: bool | None


class Filed(NamedTuple):
    """The file of a judged image; ``added`` where it was made for it."""

    path: Path
    added: bool


@dataclass(frozen=True)
class Filing:
    """The folders of one category.

    Attributes:
        root: the dataset's root.
        incoming: ``<incoming>/<category>``; None: the dataset takes no normals in.
        test_folder: of the test images, relative to the root.
        type_folders: the folder of each defect type that there is, relative to the root.
        known: the images the dataset has, by SHA-256 (hex) of their files.
        type_fault: why a name is none for a type of defect; None if it is.
        refusal: why nothing can be filed; empty: it can.
        masks_required: whether a defect without a mask would stop the category.
        reading: how the dataset's images are read.
    """

    root: Path
    incoming: Path | None
    test_folder: str
    type_folders: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, KnownImage] = field(default_factory=dict)
    type_fault: Callable[[str], str | None] = lambda name: None
    refusal: str = ""
    masks_required: bool = False
    reading: ReadingSettings = PLAIN_READING

    def check(self, verdict: Verdict, defect_type: str | None, picture: Path, content: str) -> None:
        """Do nothing where an image can be judged so.

        Args:
            verdict: what is said of it.
            defect_type: of a defect.
            picture: the file that was kept of it.
            content: SHA-256 (hex) of that.

        Raises:
            CannotJudge: it cannot.
        """
        if (verdict == "defect") != (defect_type is not None):
            raise CannotJudge("a defect has a type, and nothing else has one")
        if verdict == "unsure":
            return
        known = self._known(content)
        fault = (
            self.refusals().get(verdict)
            or self._picture_fault(picture)
            or (self._contradiction(verdict, known) if known else None)
        )
        if not fault and defect_type is not None:
            fault = self._type_fault(defect_type, known)
        if fault:
            raise CannotJudge(fault)

    def refusals(self) -> dict[Verdict, str]:
        """What cannot be said of any image of the category, with the reason."""
        if self.refusal:
            return {"normal": self.refusal, "defect": self.refusal}
        found: dict[Verdict, str] = {}
        if self.incoming is None:
            found["normal"] = (
                "the dataset has no `incoming` folder in uad.yaml, from where normals are taken in"
            )
        if self.masks_required:
            found["defect"] = (
                "the dataset has `masks: required`, and a judged image has no mask: add it by hand with one, or say "
                "`masks: optional` in uad.yaml"
            )
        return found

    def file(self, judgement: Judgement, picture: Path) -> Filed:
        """Put an image where its judgement says: copied aside, synced, renamed; what is there already stays.

        Raises:
            OSError: it cannot be written, or is not what was judged any more.
        """
        if known := self._known(judgement.content):
            return Filed(self.root / file_path(known.path), added=False)
        target = self.target(judgement)
        if not self.has(target, judgement.content):
            with new_file(target, durable=True) as aside:
                shutil.copyfile(picture, aside)
                if file_digest(aside) != judgement.content:
                    raise OSError(f"{picture} is not the picture any more that was judged")
        return Filed(target, added=True)

    def remove(self, judgement: Judgement) -> None:
        """Take the file of a judgement away again, if it is there."""
        target = self.target(judgement)
        if self.has(target, judgement.content):
            target.unlink(missing_ok=True)
            sync(target.parent)

    def target(self, judgement: Judgement) -> Path:
        """Where the file of a judgement belongs.

        Raises:
            CannotJudge: nowhere, as of an unsure one, or of a normal where there is no ``incoming`` any more.
        """
        name = name_with_digest(
            Path(judgement.image).stem + Path(judgement.picture).suffix, judgement.content
        )
        if judgement.verdict == "normal" and self.incoming is not None:
            return self.incoming / name
        if judgement.verdict == "defect" and judgement.defect_type is not None:
            kind = judgement.defect_type
            return self.root / self.type_folders.get(kind, f"{self.test_folder}/{kind}") / name
        raise CannotJudge(
            f"{judgement.image}: there is no place for an image that was judged {judgement.verdict}"
        )

    @staticmethod
    def has(path: Path, content: str) -> bool:
        """Whether a file is there, with this content."""
        return path.is_file() and file_digest(path) == content

    def _picture_fault(self, picture: Path) -> str | None:
        if not is_image_name(picture.name):
            return f"{printable(picture)} is no image by its name"
        try:
            read_image(picture, self.reading)
        except ImageError as error:
            return f"its picture cannot be decoded: {error}"
        return None

    def _known(self, content: str) -> KnownImage | None:
        """The image that the dataset has; None where it has none, or not any more, as after a judgement was undone."""
        known = self.known.get(content)
        return known if known and (self.root / file_path(known.path)).is_file() else None

    @staticmethod
    def _contradiction(verdict: Verdict, known: KnownImage) -> str | None:
        if known.defective == (verdict == "defect"):
            return None
        if known.defective is None:
            return f"uad.yaml excludes this very image, {known.path}: take it out of `exclude` first"
        what = "a defect" if known.defective else "normal"
        return f"the dataset has this very image as {known.path}, {what}: move or remove it there first"

    def _type_fault(self, kind: str, known: KnownImage | None) -> str | None:
        if kind not in self.type_folders and (fault := self.type_fault(kind)):
            return f"{kind!r} cannot be a type of defect: {fault}"
        folder = self.type_folders.get(kind)
        if known and not (folder and PurePosixPath(known.path).is_relative_to(folder)):
            return f"the dataset has this very image as {known.path}: move it there if its type is {kind!r}"
        return None
