"""From annotation files to what the layout ``manifest`` reads: masks and ``manifest.jsonl``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.annotations.annotation_files import EntryError
from uad_orchestrator.datasets.annotations.formats import READERS
from uad_orchestrator.datasets.annotations.image_folder import IMPORTED_MASKS, ImageFolder
from uad_orchestrator.datasets.annotations.image_rows import (
    ImageRow,
    counts_of,
    name_defects,
    problem,
    set_splits,
)
from uad_orchestrator.datasets.annotations.marks import AnnotatedImage, Annotations
from uad_orchestrator.datasets.annotations.mask_files import MaskWriter
from uad_orchestrator.datasets.annotations.splits import split_word
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import NORMAL_WORDS
from uad_orchestrator.storage.atomic import new_folder, write_text

_DRAWN_AS_BOXES = ": if they were drawn as boxes, --rectangles-are-boxes keeps them out of pixel metrics"


@dataclass(frozen=True)
class ImportedAnnotations:
    """What an import wrote.

    Attributes:
        manifest: the table.
        category: the category it holds.
        counts: images by split and defect type (``good`` for normals).
        masks: how many masks were written.
        masks_folder: where they lie.
        boxed: the images whose defects are marked by boxes, or as a whole: they count in image metrics only.
        outside: the images' folder, where it is outside of the manifest's: they stand there by absolute paths.
        notes: what was decided on the way.
    """

    manifest: Path
    category: str
    counts: Mapping[tuple[Split, str], int]
    masks: int
    masks_folder: Path
    boxed: tuple[str, ...]
    outside: Path | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImportSettings:
    """How annotations are understood.

    Attributes:
        normal: words that mean a normal image, beside good, normal and ok.
        train: patterns over the images' paths: these normals are fitted, all others tested.
        train_share: of the normals of which no split is said, how many are fitted; in (0, 1).
        unlisted: whether images that no annotation file speaks of are normal; else they are left out.
        rectangles_are_boxes: whether polygons of four right angles are boxes; else they are masks, as other polygons.
        clip: whether shapes are cut off at the image's border; else those that reach over it are errors.

    Raises:
        ValueError: ``train_share`` is not in (0, 1).
    """

    normal: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    train_share: float = 0.7
    unlisted: bool = True
    rectangles_are_boxes: bool = False
    clip: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.train_share < 1:
            raise ValueError(f"train_share is {self.train_share}; expected more than 0 and less than 1")


def import_annotations(
    kind: str,
    sources: Sequence[Path | str],
    *,
    images: Path | str | None = None,
    output: Path | str | None = None,
    category: str | None = None,
    settings: ImportSettings = ImportSettings(),
    replace: bool = False,
) -> ImportedAnnotations:
    """Write the masks of annotation files, and a manifest with a row per image, for the layout ``manifest``.

    An image without annotations is normal. One is defective if any annotation has another word than the normal ones;
    its defect type is that word, or ``combined`` where there are several. Nothing is written where anything is wrong.

    Args:
        kind: one of ``READERS``.
        sources: annotation files, or folders that hold them.
        images: the images' folder; None: ``images_folder``.
        output: where ``manifest.jsonl`` and the folder ``imported_masks`` go; None: to the images. Rows of other
            categories in the manifest stay.
        category: what the images show; None: the name of the images' folder.
        settings: how they are understood.
        replace: whether rows and masks of the category from before are replaced.

    Returns:
        What was written.

    Raises:
        DatasetError: anything wrong with annotations or images; all faults are in its ``problems``.
        FileExistsError: the category is in the manifest already.
        ImportError: the format needs a package that is not installed.
    """
    files = [Path(source) for source in sources]
    root = Path(images) if images is not None else images_folder(files)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; expected the images' folder")
    target = Path(os.path.abspath(output or root))  # noqa: PTH100 - ".." goes, links stay
    folder = ImageFolder(root)
    name = category or folder.root.name
    manifest = target / "manifest.jsonl"
    kept = _other_rows(manifest, name, replace)
    words = {word.strip().lower() for word in (*NORMAL_WORDS, *settings.normal)}
    found = READERS[kind](files, folder.root)
    listed = _match(found, folder)
    rows = _rows(listed, folder, found.notes, settings.unlisted)
    name_defects(rows, words, found.problems, found.notes)
    set_splits(rows, found.problems, found.notes, train=settings.train, train_share=settings.train_share)
    with _masks_folder(target / IMPORTED_MASKS / name) as masks:
        writer = MaskWriter(folder.root, masks, words, settings.rectangles_are_boxes, settings.clip)
        for row in rows:
            writer.write(row, found.problems)
        if found.problems:
            raise DatasetError(f"{kind} annotations of {folder.root} cannot be imported:", found.problems)
    if writer.rectangles:
        found.notes.append(
            f"{writer.rectangles} polygons are rectangles"
            + (" and count as boxes" if settings.rectangles_are_boxes else _DRAWN_AS_BOXES)
        )
    inside = folder.root.is_relative_to(target)
    before = folder.root.relative_to(target).as_posix() if inside else folder.root.as_posix()
    before = "" if before == "." else f"{before}/"
    table = (*kept, *(row.to_json(before, f"{IMPORTED_MASKS}/{name}/", name) for row in rows))
    write_text(manifest, "".join(json.dumps(row) + "\n" for row in table))
    return ImportedAnnotations(
        manifest,
        name,
        counts_of(rows),
        sum(row.mask is not None for row in rows),
        target / IMPORTED_MASKS / name,
        tuple(row.path for row in rows if row.anomalous and row.mask is None),
        None if inside else folder.root,
        tuple(found.notes),
    )


@contextmanager
def _masks_folder(path: Path) -> Iterator[Path]:
    """A new folder for masks; it is not left behind empty."""
    try:
        with new_folder(path) as aside:
            yield aside
    finally:
        with suppress(OSError):
            path.rmdir()
        with suppress(OSError):
            path.parent.rmdir()


def images_folder(sources: Sequence[Path | str]) -> Path:
    """Where the images of annotation files are looked for if nothing else is said.

    Args:
        sources: annotation files, or folders that hold them.

    Returns:
        The folder that holds them all; the one above where that is in a split's folder beside ``train``.
    """
    files = [Path(os.path.abspath(source)) for source in sources]  # noqa: PTH100 - ".." goes, links stay
    common = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in files]))
    for folder in (common, common.parent):
        if split_word(folder.name) and any(
            split_word(path.name) == "train" for path in folder.parent.iterdir()
        ):
            return folder.parent
    return common


def _other_rows(manifest: Path, category: str, replace: bool) -> list[Any]:
    """The rows of other categories that the manifest has.

    Raises:
        FileExistsError: it has the category, and that may not be replaced.
        DatasetError: it cannot be read.
    """
    if not manifest.exists():
        return []
    try:
        rows = [
            json.loads(line) for line in manifest.read_text(encoding="utf-8-sig").splitlines() if line.strip()
        ]
        others = [row for row in rows if row["category"] != category]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{manifest} is there, but no manifest: {error!r}; move it elsewhere") from error
    if len(others) < len(rows) and not replace:
        raise FileExistsError(
            f"{manifest} has the category {category} already; --replace puts the new rows there"
        )
    return others


def _match(found: Annotations, folder: ImageFolder) -> dict[str, AnnotatedImage]:
    """Annotated images by their files; what has none, or shares one, is a problem."""
    listed: dict[str, AnnotatedImage] = {}
    for image in found.images:
        try:
            path = folder.find(image)
        except EntryError as error:
            found.problems.append(problem(image, str(error)))
            continue
        first = listed.setdefault(path, image)
        if first is not image:
            where = f"{first.source}, {first.entry}" if first.entry else str(first.source)
            found.problems.append(problem(image, f"{path} is annotated in {where}, too; keep one of them"))
    return listed


def _rows(
    listed: Mapping[str, AnnotatedImage], folder: ImageFolder, notes: list[str], unlisted: bool
) -> list[ImageRow]:
    """All images that go into the manifest, sorted by path."""
    others = [path for path in folder.paths if path not in listed]
    if others and unlisted:
        notes.append(
            f"{len(others)} images that no annotation speaks of are taken as normal (--no-unlisted: left out)"
        )
    if others and not unlisted:
        notes.append(f"{len(others)} images that no annotation speaks of are left out")
    if folder.passed_over:
        notes.append(f"{folder.passed_over} pictures in folders named for masks are passed over")
    return [ImageRow(path, listed.get(path)) for path in folder.paths if unlisted or path in listed]
