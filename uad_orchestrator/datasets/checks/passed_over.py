"""Images of one's own that no category has, because they lie where none is looked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.datasets.scan import files_and_folders, holds_images, is_image_name


def passed_over(root: Path, known: Collection[str]) -> Iterator[DatasetProblem]:
    """Folders of images at a root of layout ``folder`` that are no category, and images that lie in it directly.

    Without a word, a category that is arranged otherwise would be missing from every result.

    Args:
        root: the dataset's root.
        known: names of folders that are categories, or are there for something else.

    Yields:
        A warning for each such folder, one for all loose images last.

    Raises:
        DatasetError: the root cannot be listed.
    """
    files, folders = files_and_folders(root)
    for name in folders:
        if name not in known and holds_images(root / name):
            message = f"no category, and its images are not read: expected {name}/train/good/<image>"
            yield DatasetProblem(name, message, "warning")
    if images := [name for name in files if is_image_name(name)]:
        message = f"{len(images)} of its files are images of no category, and are not read: expected"
        yield DatasetProblem(images[0], f"{message} <category>/train/good/<image>", "warning")
