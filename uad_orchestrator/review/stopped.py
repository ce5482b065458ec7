"""The images that the line stopped: those it wants reviewed or rejected, of which a picture was kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal

from uad_orchestrator.inference.records.contents import day_stamp
from uad_orchestrator.inference.records.record import STOPPED, LineRecord
from uad_orchestrator.inference.records.record_files import cell_folder, kept_file, read_day, recorded_days
from uad_orchestrator.review.judgement import Judged, Stop

Order = Literal["newest", "score"]

Cell = tuple[str, str]
"""``dataset/category`` and detector."""


@dataclass(frozen=True)
class StoppedImage:
    """An image, however many detectors stopped it, however often.

    Attributes:
        category: ``dataset/category``.
        digest: SHA-256 (hex) of its content.
        records: a record per detector, its newest, those newest first.
    """

    category: str
    digest: str
    records: tuple[LineRecord, ...]

    @property
    def newest(self) -> LineRecord:
        """The last record of it."""
        return self.records[0]

    def stops(self) -> dict[str, Stop]:
        """What its judgement says of the detectors."""
        return {
            record.detector: Stop(record.id, record.score, record.decision)
            for record in self.records
            if record.decision is not None
        }


@dataclass
class StoppedRecords:
    """The records of stopped images, of cells that are asked for; days that did not change are read once.

    Attributes:
        records: the folder that the line is recorded to.
        cells: whose records are looked at.
    """

    records: Path
    cells: Sequence[Cell]
    _days: dict[Path, tuple[str, list[LineRecord]]] = field(default_factory=dict, repr=False)
    _turn: Lock = field(default_factory=Lock, repr=False)

    def read(self) -> list[LineRecord]:
        """All of them, those without a picture, too."""
        with self._turn:
            return [record for cell in self.cells for record in self._of(cell)]

    def find(self, record_id: str) -> LineRecord | None:
        """One of them; None: there is no such record."""
        with self._turn:
            known = (record for _, day in self._days.values() for record in day if record.id == record_id)
            if (found := next(known, None)) is not None:
                return found
        return next((record for record in self.read() if record.id == record_id), None)

    def images(self) -> list[StoppedImage]:
        """The images whose pictures are there, newest first."""
        return images_of(record for record in self.read() if self.picture(record) is not None)

    def picture(self, record: LineRecord) -> Path | None:
        """The file that was kept of an image; None where none was, or is any more, or its name leads elsewhere."""
        return self._kept(record, record.picture)

    def anomaly_map(self, record: LineRecord) -> Path | None:
        """The map that was kept, likewise."""
        return self._kept(record, record.anomaly_map)

    def _kept(self, record: LineRecord, name: str | None) -> Path | None:
        if name is None:
            return None
        try:
            path = kept_file(self.records, record, name)
            return path if path.is_file() else None
        except (
            ValueError,
            OSError,
        ):  # it leads elsewhere, or is too long: one such record keeps nobody from the others
            return None

    def _of(self, cell: Cell) -> Iterable[LineRecord]:
        for day in recorded_days(self.records, *cell):
            folder, stamp = cell_folder(self.records, *cell) / day, day_stamp(self.records, *cell, day)
            if folder not in self._days or self._days[folder][0] != stamp:
                found = read_day(self.records, *cell, day, decisions=STOPPED)
                self._days[folder] = stamp, [r for r in found if (r.category, r.detector) == cell]
            yield from self._days[folder][1]


def images_of(records: Iterable[LineRecord]) -> list[StoppedImage]:
    """Records as images: those of the same content are one; newest first."""
    by_image: dict[tuple[str, str], dict[str, LineRecord]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: (record.time, record.id)):
        by_image[record.category, record.digest][record.detector] = record
    images = [
        StoppedImage(category, digest, tuple(sorted(of.values(), key=lambda r: r.time, reverse=True)))
        for (category, digest), of in by_image.items()
    ]
    return sorted(images, key=lambda image: image.newest.time, reverse=True)


def waiting(
    images: Sequence[StoppedImage], judged: dict[str, dict[str, Judged]], order: Order = "newest"
) -> list[StoppedImage]:
    """The images that nobody has judged.

    Args:
        images: newest first.
        judged: the standing judgements of each category, by digest.
        order: ``newest`` first, or ``score``: the most anomalous first. Scores of two detectors are on scales of their
            own, so each image counts by its rank among those of its detector, by the highest of them.
    """
    left = [image for image in images if image.digest not in judged.get(image.category, {})]
    if order == "newest":
        return left
    scores: dict[Cell, list[float]] = defaultdict(list)
    for image in left:
        for record in image.records:
            scores[image.category, record.detector].append(record.score)
    places = {
        cell: {score: place for place, score in enumerate(sorted(set(of), reverse=True))}
        for cell, of in scores.items()
    }
    return sorted(left, key=lambda i: min(places[i.category, r.detector][r.score] for r in i.records))
