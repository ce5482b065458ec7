"""Everything wrong with a category at once, from names and headers: quick, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.copies import find_exact_copies
from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.load import dataset_folder, scan_dataset
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError, DatasetProblem
from uad_orchestrator.datasets.strictness import Strictness
from uad_orchestrator.images.decode import ImageError, check_header
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.images.remarks import file_remarks
from uad_orchestrator.storage.file_names import file_path, printable, table_name

_THREADS = 8  # opening files waits more than it computes
_LOSSY = (".jpg", ".jpeg")

Progress = Callable[[int, int], None]
"""Called with (files looked at, files in all)."""


def check_dataset(
    layout: str,
    root: Path | str,
    category: str,
    *,
    layout_settings: LayoutSettings | Mapping[str, Any] | None = None,
    exclude: Iterable[str] = (),
    strictness: Strictness = Strictness(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    reading: ReadingSettings = PLAIN_READING,
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

    Returns:
        Errors and warnings; empty where all is right.
    """
    try:
        scan, _ = scan_dataset(layout, Path(root), category, exclude, layout_settings, strictness.masks)
    except DatasetError as error:
        return list(error.problems) or [DatasetProblem(category, str(error))]
    files = [(table_name(image.path), tuple(map(table_name, image.masks))) for image in scan.images]
    headers = _check_headers(dataset_folder(layout, root), files, reading, progress)
    problems = scan.problems + scan.warnings + headers
    return sorted(set(problems), key=lambda problem: problem.path)


def check_category(manifest: Manifest, progress: Progress | None = None) -> list[DatasetProblem]:
    """Every fault that a loaded category's headers show, and test images that were also trained on.

    Args:
        manifest: what ``load_dataset`` gave.
        progress: called with (files looked at, files in all).

    Returns:
        Errors and warnings, sorted by path; empty where all is right.
    """
    files = [(record.path, tuple(mask.path for mask in record.masks)) for record in manifest.records]
    problems = _check_headers(manifest.root, files, manifest.reading, progress) + find_exact_copies(manifest)
    return sorted(set(problems), key=lambda problem: problem.path)


def _check_headers(
    root: Path,
    files: list[tuple[str, tuple[str, ...]]],
    reading: ReadingSettings,
    progress: Progress | None,
) -> list[DatasetProblem]:
    problems: list[DatasetProblem] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = pool.map(lambda file: _check_image(root, file[0], file[1], reading), files)
        for done, found in enumerate(checked, 1):
            problems += found
            if progress:
                progress(done, len(files))
    return problems


def _check_image(
    root: Path, image: str, masks: tuple[str, ...], reading: ReadingSettings
) -> list[DatasetProblem]:
    """An image and its masks: all readable, all of one size."""
    problems: list[DatasetProblem] = []
    size = _size(root, image, problems, reading)
    if size:
        remarks = file_remarks(root / file_path(image), reading)
        problems += [DatasetProblem(image, remark.text, "warning") for remark in remarks]
    for mask in masks:
        mask_size = _size(root, mask, problems, reading, mask=True)
        if size and mask_size and mask_size != size:
            message = (
                f"mask of {_words(mask_size)}, its image {image} is {_words(size)}; expected the same size"
            )
            problems.append(DatasetProblem(mask, message))
        if mask.lower().endswith(_LOSSY):
            message = "a JPEG mask: compression leaves pixels above 0 around defects; store it as PNG"
            problems.append(DatasetProblem(mask, message, "warning"))
    return problems


def _size(
    root: Path, name: str, problems: list[DatasetProblem], reading: ReadingSettings, *, mask: bool = False
) -> tuple[int, int] | None:
    path = root / file_path(name)
    try:
        return check_header(path, reading, mask=mask)
    except ImageError as error:
        problems.append(DatasetProblem(name, str(error).removeprefix(f"{printable(path)}: ")))
        return None


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} (height x width)"
