"""The folders of new normal images: incoming, taken in, in quarantine; moves between them survive a kill.

``<incoming>/<category>/<image>`` is new, ``<root>/<category>/train/good/<name>-<digest><suffix>`` was taken in,
``<incoming>/held/<category>/<image>`` is in quarantine, with ``<image>.json`` beside that says why.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import list_files, subfolders
from uad_orchestrator.project import DatasetSettings, Project
from uad_orchestrator.project.parsing.datasets import HELD_FOLDER
from uad_orchestrator.storage.atomic import new_file, write_text
from uad_orchestrator.storage.digests import file_digest
from uad_orchestrator.storage.file_names import name_with_digest

SETTLED_SECONDS = 10.0
"""A file that changed more recently may still be on its way."""


class ChangedMeanwhileError(OSError):
    """A file is no more what it was when it was checked."""


@dataclass(frozen=True)
class QuarantinedImage:
    """An image in quarantine.

    Attributes:
        path: where it lies.
        reason: why, in a sentence.
        digest: SHA-256 (hex) of its bytes; empty where it could not be read.
        scores: of each detector that scored it, ``score`` and ``limit``.
        held_at: when, ISO 8601.
    """

    path: Path
    reason: str
    digest: str = ""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    held_at: str = ""

    def to_json(self) -> dict[str, Any]:
        """The image's name and why it is in quarantine."""
        return {
            "image": self.path.name,
            "reason": self.reason,
            "digest": self.digest,
            "scores": self.scores,
            "held_at": self.held_at,
        }


def incoming_categories(project: Project) -> list[str]:
    """The category keys of all datasets that take images in."""
    return [key for key in project.category_keys() if project.datasets[key.split("/", 1)[0]].incoming]


def incoming_folder(dataset: DatasetSettings, category: str) -> Path:
    """``<incoming>/<category>``."""
    return _incoming(dataset) / category


def quarantine_folder(dataset: DatasetSettings, category: str) -> Path:
    """``<incoming>/held/<category>``."""
    return _incoming(dataset) / HELD_FOLDER / category


def incoming_images(dataset: DatasetSettings, category: str) -> list[Path]:
    """The files that lie in a category's incoming folder, sorted; none where there is no such folder.

    Raises:
        DatasetError: the dataset's incoming folder is not there, or a folder cannot be listed.
    """
    if not _incoming(dataset).is_dir():
        raise DatasetError(f"incoming: there is no folder {_incoming(dataset)}")
    folder = incoming_folder(dataset, category)
    return [folder / name for name in list_files(folder)] if folder.is_dir() else []


def strays(dataset: DatasetSettings, categories: list[str]) -> list[str]:
    """What lies in the incoming folder where no category looks for it, in words."""
    incoming = _incoming(dataset)
    found = [
        f"{incoming / name}: there is no such category; expected one of {', '.join(categories)}"
        for name in subfolders(incoming)
        if name not in (*categories, HELD_FOLDER)
    ]
    found += [f"{incoming / name}: lies outside the categories" for name in list_files(incoming)]
    inner = [incoming / name for name in categories if (incoming / name).is_dir()]
    return found + [
        f"{folder / name}: a folder among the images; it is not looked into"
        for folder in inner
        for name in subfolders(folder)
    ]


def still_being_written(path: Path, settled_seconds: float = SETTLED_SECONDS) -> bool:
    """Whether the file changed within the last seconds: its copy may not be complete."""
    found = path.stat()
    return time.time() - max(found.st_mtime, found.st_ctime) < settled_seconds


def taken_name(manifest: Manifest, digest: str, name: str) -> str:
    """Where an image of this digest and file name goes, relative to the dataset's root.

    Into ``train/good``; into the class folder of the first training image where the category uses another word. The
    name stays readable, and the digest behind it keeps apart what cameras number from 0001 again.
    """
    folders = {PurePosixPath(*PurePosixPath(record.path).parts[:3]) for record in manifest.train}
    good = PurePosixPath(manifest.category, "train", "good")
    folder = good if good in folders or not folders else min(folders)
    return str(folder / name_with_digest(name, digest))


def take_in(image: Path, target: Path, digest: str) -> None:
    """Move an image: copied aside, synced, renamed, and only then removed where it came from.

    Raises:
        ChangedMeanwhileError: its bytes are not those that were checked; nothing was moved.
    """
    with new_file(target, durable=True, alone=True) as aside:
        shutil.copyfile(image, aside)
        if file_digest(aside) != digest:
            raise ChangedMeanwhileError(
                f"{image} changed while it was looked at: it is looked at again next time"
            )
    image.unlink(missing_ok=True)


def quarantine(image: Path, folder: Path, held: QuarantinedImage) -> QuarantinedImage:
    """Move an image into quarantine, its reason first."""
    target = folder / image.name
    if target.exists() and _reason_file(target).exists() and read_quarantined(target).digest != held.digest:
        target = folder / f"{image.stem}-{held.digest[:8] or time.time_ns()}{image.suffix}"
    kept = QuarantinedImage(target, held.reason, held.digest, held.scores, datetime.now(UTC).isoformat())
    write_text(_reason_file(target), json.dumps(kept.to_json(), indent=1))
    image.replace(target)
    return kept


def list_quarantined(dataset: DatasetSettings, category: str) -> list[QuarantinedImage]:
    """The images of a category in quarantine, sorted by name."""
    folder = quarantine_folder(dataset, category)
    if not folder.is_dir():
        return []
    names = list_files(folder)
    images = [name for name in names if not (name.endswith(".json") and name.removesuffix(".json") in names)]
    return [read_quarantined(folder / name) for name in images if not name.endswith(".json")]


def read_quarantined(image: Path) -> QuarantinedImage:
    """An image in quarantine, with its reason; one without a reason file says so."""
    try:
        values = json.loads(_reason_file(image).read_text())
        return QuarantinedImage(
            image, **{key: values[key] for key in ("reason", "digest", "scores", "held_at")}
        )
    except (OSError, ValueError, KeyError, TypeError):
        return QuarantinedImage(image, "no reason is written beside it")


def forget_reason(image: Path) -> None:
    """Remove the reason beside an image that was taken in."""
    _reason_file(image).unlink(missing_ok=True)


def _incoming(dataset: DatasetSettings) -> Path:
    if dataset.incoming is None:
        raise ValueError("the dataset has no `incoming` folder")
    return dataset.incoming


def _reason_file(image: Path) -> Path:
    return image.with_name(f"{image.name}.json")
