"""Everything wrong with a category at once, from names and headers: quick, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from uad_orchestrator.datasets.checks.odd_images import odd_images
from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.leaks import find_exact_copies
from uad_orchestrator.datasets.load import dataset_folder, scan_dataset
from uad_orchestrator.datasets.manifest import Manifest, Split
from uad_orchestrator.datasets.problems import DatasetError, DatasetProblem
from uad_orchestrator.datasets.strictness import Strictness
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.file_facts import checked_header
from uad_orchestrator.images.header import Header, reason_of, size_words
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.remarks import file_remarks
from uad_orchestrator.storage.file_names import file_path, table_name

_THREADS = 8  # opening files waits more than it computes
LOSSY = (".jpg", ".jpeg")

Found = TypeVar("Found")

Progress = Callable[[int, int], None]
"""Called with (files looked at, files in all)."""


def check_dataset(  # noqa: PLR0913 - keywords, each with a default
    layout: str,
    root: Path | str,
    category: str,
    *,
    layout_settings: LayoutSettings | Mapping[str, Any] | None = None,
    exclude: Iterable[str] = (),
    strictness: Strictness = Strictness(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    reading: ReadingSettings = PLAIN_READING,
    decode: bool = True,
    categories: Collection[str] = (),
) -> list[DatasetProblem]:
    """Every fault of a category, sorted by path: what the layout misses and what the files' headers show.

    Unlike ``load_dataset`` it never raises for a faulty dataset, and hashes nothing.

    Args:
        layout: a layout's name.
        root: the dataset's folder, the one that holds the categories.
        category: a category's name.
        layout_settings: the keys that the layout adds, as for ``load_dataset``.
        exclude: images to leave out, as for ``load_dataset``.
        strictness: as for ``load_dataset``.
        progress: called with (files looked at, files in all).
        reading: how the images are read.
        decode: whether images with an alpha channel are decoded, to say what it hides.
        categories: those known to be below the root, as for ``load_dataset``.

    Returns:
        Errors and warnings; empty where all is right.
    """
    try:
        scan, _ = scan_dataset(
            layout, Path(root), category, exclude, layout_settings, strictness.masks, categories
        )
    except DatasetError as error:
        return list(error.problems) or [DatasetProblem(category, str(error))]
    files = [
        _Files(table_name(image.path), image.split, tuple(map(table_name, image.masks)))
        for image in scan.images
    ]
    of_headers = _check_headers(dataset_folder(layout, root), files, reading, progress, decode=decode)
    problems = scan.problems + scan.warnings + of_headers
    return sorted(set(problems), key=lambda problem: problem.path)


def check_category(manifest: Manifest, progress: Progress | None = None) -> list[DatasetProblem]:
    """Every fault that a loaded category's headers show, odd images, and copies of files in several splits.

    Args:
        manifest: what ``load_dataset`` gave.
        progress: called with (files looked at, files in all).

    Returns:
        Errors and warnings, sorted by path; empty where all is right.
    """
    files = [
        _Files(record.path, record.split, tuple(mask.path for mask in record.masks))
        for record in manifest.records
    ]
    problems = _check_headers(manifest.root, files, manifest.reading, progress) + find_exact_copies(manifest)
    return sorted(set(problems), key=lambda problem: problem.path)


class _Files(NamedTuple):
    """An image with its masks, by their paths."""

    image: str
    split: Split
    masks: tuple[str, ...]


def _check_headers(
    root: Path,
    files: list[_Files],
    reading: ReadingSettings,
    progress: Progress | None,
    *,
    decode: bool = True,
) -> list[DatasetProblem]:
    problems: list[DatasetProblem] = []
    normals: dict[str, Header] = {}
    others: dict[str, Header] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = pool.map(lambda of: _check_image(root, of, reading, decode), files)
        for done, (of, (header, found)) in enumerate(zip(files, checked, strict=True), 1):
            problems += found
            if header:
                (normals if of.split in ("train", "validation") else others)[of.image] = header
            if progress:
                progress(done, len(files))
    return problems + odd_images(normals, others)


def _check_image(
    root: Path, files: _Files, reading: ReadingSettings, decode: bool
) -> tuple[Header | None, list[DatasetProblem]]:
    """An image and its masks: all readable, all of one size."""
    problems: list[DatasetProblem] = []

    def tried(name: str, look: Callable[[Path], Found]) -> Found | None:
        path = root / file_path(name)
        try:
            return look(path)
        except ImageError as error:
            problems.append(DatasetProblem(name, reason_of(error, path)))
            return None

    header = tried(files.image, lambda path: checked_header(path, reading))
    if header:
        remarks = tried(files.image, lambda path: file_remarks(path, reading, header=header, decode=decode))
        problems += [DatasetProblem(files.image, remark.text, "warning") for remark in remarks or ()]
    for mask in files.masks:
        of_mask = tried(mask, lambda path: checked_header(path, reading, mask=True))
        if header and of_mask and of_mask.size != header.size:
            message = (
                f"mask of {size_words(of_mask.size)}, its image {files.image} is {size_words(header.size)}"
            )
            problems.append(DatasetProblem(mask, f"{message}; expected the same size"))
        if mask.lower().endswith(LOSSY):
            message = "a JPEG mask: compression leaves pixels above 0 around defects; store it as PNG"
            problems.append(DatasetProblem(mask, message, "warning"))
    return header, problems
