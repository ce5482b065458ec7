"""``uad review``: the records of a project's line, its folders and its cells, put together for the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.records.record_files import inside, recorded_cells
from uad_orchestrator.orchestration.cells.artifact_files import read_normal_maps
from uad_orchestrator.orchestration.cells.cell_run import CellRun, MissingUpstream
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.cells.open_detector import open_detector
from uad_orchestrator.orchestration.cells.points_in_use import image_point, pixel_point, review_point
from uad_orchestrator.orchestration.ingestion.ingest import ingestion_lock
from uad_orchestrator.orchestration.ingestion.judged import filing_of
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import Project, ProjectError, read_again
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale
from uad_orchestrator.review.category_review import CategoryReview
from uad_orchestrator.review.filing import Filing
from uad_orchestrator.review.judgement import Judged
from uad_orchestrator.review.outcome import CellOutcome, ScoreNow, decided_again
from uad_orchestrator.review.review import Review
from uad_orchestrator.review.stopped import StoppedRecords
from uad_orchestrator.storage.artifacts import ArtifactError

Found = TypeVar("Found")

FOLDERS_SECONDS = 20.0
"""How long what is known of a dataset's folders counts: listing 100,000 images at each key would be felt."""

COLOURS_SECONDS = 300.0
"""Likewise of a cell's colours."""

HOLD_OFF_SECONDS = 3.0
"""How long a person waits for an ingestion that is at work."""


class NotReviewed(ValueError):
    """A project, or a part of it, of which nothing can be reviewed; says what to do."""


def open_review(project: Project, selection: Selection, by: str) -> Review:
    """The review of the cells that the selection covers and the line has records of.

    Args:
        project: with ``line.records``.
        selection: of cells.
        by: who reviews.

    Raises:
        NotReviewed: the line is not recorded, or no covered cell has records.
    """
    records = project.line.records
    if records is None:
        raise NotReviewed(
            "uad.yaml does not say where the line is recorded: set `line: {records: DIR}`, the folder that "
            "`--record` of uad serve and uad infer writes to"
        )
    of_project = set(project.cells())
    found = [cell for cell in recorded_cells(records) if cell in of_project]
    cells = [cell for cell in found if selection.covers(Cell(*cell))]
    if not cells:
        what = "has no records of this project's cells" if not found else "has none of the cells asked for"
        raise NotReviewed(f"{records} {what}: is it the folder that the line is recorded to?")
    now = _ProjectNow(project)
    return Review(
        by=by,
        stopped=StoppedRecords(records, cells),
        categories={
            category: CategoryReview(
                records,
                category,
                partial(now.filing, category),
                lambda: ingestion_lock(project, timeout=HOLD_OFF_SECONDS),
            )
            for category in dict.fromkeys(category for category, _ in cells)
        },
        reading=lambda category: project.reading(category.partition("/")[0]),
        colours=now.colours,
        outcomes=partial(now.outcomes, cells),
    )


@dataclass
class _Recent(Generic[Found]):
    """What was found not long ago, by what it was found of."""

    seconds: float
    _found: dict[object, tuple[float, Found]] = field(default_factory=dict)

    def get(self, of: object, find: Callable[[], Found]) -> Found:
        """It, found again where it is older than that."""
        known = self._found.get(of)
        if known is None or time.monotonic() - known[0] > self.seconds:
            known = self._found[of] = (time.monotonic(), find())
        return known[1]


@dataclass
class _ProjectNow:
    """The project as its files say when it is asked; what takes time to find counts for a while."""

    project: Project
    _filings: _Recent[Filing] = field(default_factory=lambda: _Recent(FOLDERS_SECONDS))
    _colours: _Recent[HeatmapScale | None] = field(default_factory=lambda: _Recent(COLOURS_SECONDS))
    _embedders: EmbedderPool = field(default_factory=EmbedderPool)
    _turn: Lock = field(default_factory=Lock)

    def filing(self, category: str) -> Filing:
        """The folders of a category."""
        return self._filings.get(category, lambda: filing_of(open_state(self._project()), category))

    def colours(self, category: str, detector: str) -> HeatmapScale | None:
        """The cell's heatmap scale, as in its report; None where it has no maps."""

        def read() -> HeatmapScale | None:
            run = self._run(category, detector)
            try:
                normals = read_normal_maps(run.directory("anomaly_maps"))
                return HeatmapScale.from_summary(normals, pixel_point(run).threshold)
            except (MissingUpstream, InputUnavailable, ArtifactError, OSError, ValueError):
                return None

        return self._colours.get((category, detector), read)

    def outcomes(
        self, cells: Sequence[tuple[str, str]], judged: Mapping[str, Sequence[Judged]]
    ) -> list[CellOutcome]:
        """The judged images, decided again by each cell as it is now; one at a time."""
        with self._turn:
            return [self._outcome(category, detector, judged[category]) for category, detector in cells]

    def _outcome(self, category: str, detector: str, judged: Sequence[Judged]) -> CellOutcome:
        run = self._run(category, detector)
        try:
            score: Callable[[list[Judged]], list[ScoreNow]] = partial(_scores_now, run, self._embedders)
            review = review_point(run)
            begins = None if review is None else review.threshold
            return decided_again(category, detector, judged, score, image_point(run).threshold, begins)
        except (MissingUpstream, InputUnavailable, ArtifactError, ImportError, OSError, ValueError) as error:
            return CellOutcome(category, detector, reason=str(error))

    def _run(self, category: str, detector: str) -> CellRun:
        project = self._project()
        return CellRun(Cell(category, detector), open_state(project), open_store(project))

    def _project(self) -> Project:
        """As its file says now; a file that is being edited, and cannot be read, does not end a review."""
        try:
            return read_again(self.project)
        except ProjectError as error:
            raise OSError(f"uad.yaml cannot be read: {error}") from error


def _scores_now(run: CellRun, embedders: EmbedderPool, judged: list[Judged]) -> list[ScoreNow]:
    """The scores of judged images by a cell: those of its score table, the others by scoring them.

    A normal that was taken in stands in the table with the score it has when it is left out of the memory bank, which
    says whether the next part like it will be stopped. Scored again it would be compared with itself.
    """
    manifest = run.state.manifest(run.cell.category)
    paths = {record.digest: record for record in manifest.records}
    table = {row.image: row.score for row in read_scores(run.directory("score_table"))}
    found: dict[str, ScoreNow] = {}
    again: dict[str, ImageSource] = {}
    for said in (one.judgement for one in judged):
        record = paths.get(said.content)
        if record is not None and record.path in table:
            found[said.id] = ScoreNow(table[record.path], "score table")
            continue
        kept = run.state.project.line.records
        path = manifest.file(record.path) if record else inside(Path(kept or ""), said.picture)
        if not path.is_file():
            found[said.id] = ScoreNow(float("nan"), fault="its picture is not kept any more")
            continue
        again[said.id] = ImageSource.from_path(
            path, name=said.image, digest=said.content, reading=manifest.reading
        )
        found[said.id] = ScoreNow(float("nan"), "scored again", held=bool(record and record.split == "train"))
    found |= _scored(run, embedders, again, found)
    return [found[one.judgement.id] for one in judged]


def _scored(
    run: CellRun, embedders: EmbedderPool, images: Mapping[str, ImageSource], found: Mapping[str, ScoreNow]
) -> dict[str, ScoreNow]:
    """Images scored by the cell's memory bank; their embeddings are cached like all others."""
    if not images:
        return {}
    state = DetectorState.load(run.directory("memory_bank"))
    detector = open_detector(run, embedders)
    scored = {}
    for key, source in images.items():
        try:
            (response,) = detector.respond(state, [source])
            scored[key] = ScoreNow(response.score, found[key].source, found[key].held)
        except ImageError as error:
            scored[key] = ScoreNow(float("nan"), fault=str(error))
    return scored
