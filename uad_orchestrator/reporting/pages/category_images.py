"""The test images of a category, once for all its detectors: their pictures, and the script that lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from uad_orchestrator.datasets.manifest import ImageRecord
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.pages.addresses import CellAddress
from uad_orchestrator.reporting.pages.contents import ShownCategory
from uad_orchestrator.reporting.pages.pictures import PICTURES_VERSION, truth_svg
from uad_orchestrator.reporting.pages.report_folder import ReportFolder
from uad_orchestrator.reporting.pictures.thumbnail import thumbnail_jpeg, view_jpeg
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.threads import ordered_map

UNFINISHED = "0" * 64
"""What a script is drawn from that lacks pictures: the next run tries again."""


@dataclass(frozen=True)
class ImagePictures:
    """The pictures of a test image, called by the digests of its file and of its masks.

    Attributes:
        record: the image.
        folder: where they lie.
        stem: of the files of the image.
        truth_stem: of its ground truth's; None where it has none.
    """

    record: ImageRecord
    folder: PurePosixPath
    stem: str
    truth_stem: str | None

    @property
    def thumbnail(self) -> PurePosixPath:
        """The image, small."""
        return self.folder / f"{self.stem}-small.jpg"

    @property
    def view(self) -> PurePosixPath:
        """The image."""
        return self.folder / f"{self.stem}.jpg"

    @property
    def truth(self) -> PurePosixPath | None:
        """The outline of its ground truth."""
        return None if self.truth_stem is None else self.folder / f"{self.truth_stem}.svg"

    @property
    def files(self) -> list[PurePosixPath]:
        """All of them."""
        return [path for path in (self.thumbnail, self.view, self.truth) if path is not None]


def image_pictures(category: ShownCategory) -> list[ImagePictures]:
    """The pictures of a category's test images, in order."""
    folder = CellAddress(category.key).pictures
    drawn = {"version": PICTURES_VERSION, "reading": category.reading}

    def of(record: ImageRecord) -> ImagePictures:
        stem = digest_of({**drawn, "image": record.digest})[:20]
        truth = {"masks": [mask.digest for mask in record.masks], "boxes": record.boxes, "image": stem}
        has_truth = record.label == 1 and (record.masks or record.boxes)
        return ImagePictures(record, folder, stem, digest_of(truth)[:20] if has_truth else None)

    return [of(record) for record in category.images]


def write_images(
    folder: ReportFolder, category: ShownCategory, warnings: Sequence[CellWarning], threads: int
) -> None:
    """Bring the pictures and the script of a category's test images up to date.

    Args:
        folder: the report.
        category: its images.
        warnings: what is said of the category and its cells.
        threads: how many images are drawn at a time.
    """
    pictures, script = image_pictures(category), CellAddress(category.key).data
    folder.keep(script, *(path for picture in pictures for path in picture.files))
    shared = [warning for warning in warnings if warning.detector is None]
    listed = [_listed(picture, shared) for picture in pictures]
    key = digest_of({"look": folder.look_digest, "images": listed})
    if folder.is_current(script, key):
        return
    faults = ordered_map(
        lambda picture: _draw(folder, category, picture), pictures, threads=threads, ahead=threads
    )
    for image, fault in zip(listed, faults, strict=True):
        if fault:
            image["fault"], image["view"], key = fault, None, UNFINISHED
    data = {
        "category": category.key,
        "folder": f"{CellAddress(category.key).pictures.parent}/",
        "images": listed,
    }
    folder.write_script(script, key, f"reportImages({json.dumps(data)});")


def checks_of(image: str, warnings: Sequence[CellWarning]) -> list[str]:
    """What is said of an image: the checks that name it, in words."""
    return list(
        dict.fromkeys(warning.check.replace("_", " ") for warning in warnings if image in warning.images)
    )


def _listed(picture: ImagePictures, warnings: Sequence[CellWarning]) -> dict[str, Any]:
    record = picture.record
    return {
        "name": record.path,
        "type": record.defect_type if record.split == "test" else record.split,
        "label": record.label if record.split == "test" else -1,
        "view": picture.stem,
        "truth": picture.truth_stem,
        "checks": checks_of(record.path, warnings),
    }


def _draw(folder: ReportFolder, category: ShownCategory, picture: ImagePictures) -> str | None:
    """Draw what is not there yet; why that cannot be, where it cannot."""
    missing = [path for path in picture.files if not folder.holds(path)]
    try:
        for path, content in _contents(category, picture, missing) if missing else ():
            folder.write_picture(path, content)
    except (ImageError, ValueError) as error:
        return str(error)
    return None


def _contents(
    category: ShownCategory, picture: ImagePictures, missing: Sequence[PurePosixPath]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    image = category.image(picture.record.path)
    if picture.thumbnail in missing:
        yield picture.thumbnail, thumbnail_jpeg(image)
    if picture.view in missing:
        yield picture.view, view_jpeg(image)
    if picture.truth is not None and picture.truth in missing:
        mask = category.mask(picture.record.path) if picture.record.masks else None
        size = image.shape[0], image.shape[1]
        yield picture.truth, truth_svg(mask, picture.record.boxes, size).encode()
