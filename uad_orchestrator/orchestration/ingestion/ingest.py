"""Takes new normal images into a category, or puts them in quarantine, with a reason, until a person accepts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.ingestion.folders import (
    SETTLED_SECONDS,
    QuarantinedImage,
    forget_reason,
    incoming_images,
    list_quarantined,
    quarantine,
    quarantine_folder,
    still_being_written,
    take_in,
    taken_name,
)
from uad_orchestrator.orchestration.ingestion.image_checks import KnownImages, image_fault, unusable
from uad_orchestrator.orchestration.ingestion.judged import JudgedNormals
from uad_orchestrator.orchestration.ingestion.votes import Vote, collect_votes, objection
from uad_orchestrator.orchestration.versions.state import ProjectState
from uad_orchestrator.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
    from uad_orchestrator.project import DatasetSettings, Project

LOCK_SECONDS = 600.0


@dataclass
class IngestionResult:
    """What became of a category's new images.

    Attributes:
        category: ``dataset/category``.
        taken: the images taken in: their paths relative to the dataset's root.
        held: those put in quarantine.
        waiting: those that may still be on their way; they are looked at next time.
        faults: what could not be read or moved, in words.
        chosen: the files that were looked at, by name.
        judged: of those taken in on a person's word, by their paths: who judged them normal, and when.
    """

    category: str
    taken: list[str] = field(default_factory=list)
    held: list[QuarantinedImage] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    judged: dict[str, dict[str, str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the record of a recalibration and ``uad ingest --json``."""
        return {
            "category": self.category,
            "taken": self.taken,
            "held": [image.to_json() for image in self.held],
            "waiting": self.waiting,
            "faults": self.faults,
            "judged": self.judged,
        }


def ingest_category(
    state: ProjectState,
    store: ArtifactStore,
    embedders: EmbedderPool,
    category: str,
    *,
    settled_seconds: float = SETTLED_SECONDS,
) -> IngestionResult:
    """Check the new images of a category, and move each into ``train/good`` or into quarantine.

    Those that a person judged normal are not voted on: they are among the images that the detectors were wrong about.

    Args:
        state: the project as it is now; its manifest of the category is outdated afterwards.
        store: where the score tables and banks are.
        embedders: for scoring.
        category: ``dataset/category``.
        settled_seconds: files that changed more recently are left for the next time.

    Raises:
        DatasetError: the incoming folder or the category cannot be read.
    """
    ingestion = _Ingestion.open(state, category)
    settings = state.project.automation.intake
    listed = incoming_images(ingestion.dataset, ingestion.name)
    # An image is judged before its file arrives: so of each that is listed the word is known now.
    ingestion.judged = ingestion.judged.read_again()
    arrived = ingestion.read(listed, settled_seconds)
    candidates = [image for image in arrived if ingestion.passes(image, image_fault)]
    voted_on = [image for image in candidates if image.digest not in ingestion.judged.normal]
    runs = [CellRun(cell, state, store) for cell in state.cells if cell.category == category]
    reading = ingestion.known.reading
    sources = [
        ImageSource.from_path(i.path, name=i.path.name, digest=i.digest, reading=reading) for i in voted_on
    ]
    votes = collect_votes(runs, embedders, sources, settings.quantile) if sources else {}
    for image, source in zip(voted_on, sources, strict=True):
        reason = objection(votes[source.digest], settings.detectors)
        if reason:
            ingestion.hold(image, reason, votes[source.digest])
        else:
            ingestion.take(image)
    for image in candidates:
        if image.digest in ingestion.judged.normal:
            ingestion.take(image)
    return ingestion.result


def accept_quarantined(state: ProjectState, category: str, names: Sequence[str] = ()) -> IngestionResult:
    """Take in images from quarantine: a person has looked at them.

    What cannot be decoded, or is there already, stays where it is.

    Args:
        state: the project as it is now.
        category: ``dataset/category``.
        names: files of ``held/<category>``; none: all of them.
    """
    ingestion = _Ingestion.open(state, category)
    held = [image.path for image in list_quarantined(ingestion.dataset, ingestion.name)]
    chosen = [path for path in held if not names or path.name in names]
    for image in ingestion.read(chosen, settled_seconds=0.0):
        reason = unusable(image.path, image.digest, ingestion.known)
        if reason and not ingestion.is_taken(image):
            ingestion.result.faults.append(f"{image.path}: {reason}; it stays in quarantine")
        elif ingestion.take(image):
            forget_reason(image.path)
    return ingestion.result


@contextmanager
def ingestion_lock(project: Project, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """One ingestion at a time.

    Raises:
        TimeoutError: another one is still at work.
    """
    from filelock import FileLock, Timeout

    folder = Path(project.storage.local) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "intake.lock", timeout=timeout):
            yield
    except Timeout as error:
        raise TimeoutError("another ingestion is at work: try again when it has ended") from error


@dataclass(frozen=True)
class _IncomingImage:
    """A file, and the digest of its bytes when it was checked."""

    path: Path
    digest: str


@dataclass
class _Ingestion:
    """One category's ingestion: what is known of it, and what was done."""

    state: ProjectState
    dataset: DatasetSettings
    name: str
    known: KnownImages
    judged: JudgedNormals
    result: IngestionResult

    @classmethod
    def open(cls, state: ProjectState, category: str) -> _Ingestion:
        dataset_name, name = category.split("/", 1)
        judged = JudgedNormals.completed(state, category)
        manifest = state.manifest(category)
        try:
            known = KnownImages.of(manifest, state.digests)
        except (ImageError, OSError) as error:
            raise DatasetError(
                f"{category} takes no images in: one of its own cannot be read: {error}"
            ) from error
        result = IngestionResult(category, faults=list(judged.faults))
        return cls(state, state.project.datasets[dataset_name], name, known, judged, result)

    def read(self, paths: Sequence[Path], settled_seconds: float) -> list[_IncomingImage]:
        """Digests of the new files; what cannot be read is noted."""
        from uad_orchestrator.images.file_facts import image_digest

        found = []
        for path in paths:
            self.result.chosen.append(path.name)
            try:
                if still_being_written(path, settled_seconds):
                    self.result.waiting.append(path.name)
                else:
                    found.append(_IncomingImage(path, image_digest(path)))
            except (ImageError, OSError) as error:
                self.result.faults.append(f"{path}: {error}")
        return found

    def passes(self, image: _IncomingImage, fault_of: Callable[[Path, str, KnownImages], str | None]) -> bool:
        """Whether nothing speaks against the file itself; otherwise it goes into quarantine."""
        if self.is_taken(image):
            self.take(image)
            return False
        reason = fault_of(image.path, image.digest, self.known)
        if reason:
            self.hold(image, reason, {})
            return False
        # A second file of the same bytes is a copy of the first.
        self.known = _with_digest(self.known, image.digest, image.path.name)
        return True

    def is_taken(self, image: _IncomingImage) -> bool:
        """Whether an ingestion that was cut off had copied it already, and only did not remove it here."""
        return self.known.digests.get(image.digest) == self._target(image)

    def take(self, image: _IncomingImage) -> bool:
        """Move it into the training normals."""
        target = self._target(image)
        try:
            take_in(image.path, self.state.manifest(self.result.category).root / target, image.digest)
        except OSError as error:
            self.result.faults.append(f"{image.path}: {error}")
            return False
        self.known = _with_digest(self.known, image.digest, target)
        if target not in self.result.taken:
            self.result.taken.append(target)
        if word := self.judged.taken(image.digest, target):
            self.result.judged[target] = word
        return True

    def hold(self, image: _IncomingImage, reason: str, votes: dict[str, Vote]) -> None:
        """Move it into quarantine."""
        scores = {n: {"score": v.score, "limit": v.limit} for n, v in votes.items() if not v.fault}
        held = QuarantinedImage(image.path, reason, image.digest, scores)
        try:
            self.result.held.append(quarantine(image.path, quarantine_folder(self.dataset, self.name), held))
            self.judged.held(image.digest, reason)
        except OSError as error:
            self.result.faults.append(f"{image.path}: {error}")

    def _target(self, image: _IncomingImage) -> str:
        return taken_name(self.state.manifest(self.result.category), image.digest, image.path.name)


def _with_digest(known: KnownImages, digest: str, path: str) -> KnownImages:
    return replace(known, digests={**known.digests, digest: path})
