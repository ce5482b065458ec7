"""The review of a project's line: what waits, what was judged, and what the page shows of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale
from uad_orchestrator.review.category_review import CategoryReview
from uad_orchestrator.review.judgement import Judged, Verdict, standing
from uad_orchestrator.review.outcome import CellOutcome
from uad_orchestrator.review.pictures import map_jpeg, picture_jpeg
from uad_orchestrator.review.stopped import Order, StoppedImage, StoppedRecords, images_of, waiting


class NotThere(LookupError):
    """No such record, image, category or picture."""


class Queue(NamedTuple):
    """What waits, in order, and how many stopped images can be shown no more."""

    images: list[StoppedImage]
    without_picture: int


@dataclass(frozen=True)
class Review:
    """All categories that are reviewed together.

    Attributes:
        by: who reviews.
        stopped: the records of stopped images.
        categories: the review of each category.
        reading: how a category's images are read.
        colours: the scale of a cell's heatmaps; None: each map's own.
        outcomes: the judged images decided again, by the cells as they are now.
    """

    by: str
    stopped: StoppedRecords
    categories: Mapping[str, CategoryReview]
    reading: Callable[[str], ReadingSettings]
    colours: Callable[[str, str], HeatmapScale | None]
    outcomes: Callable[[Mapping[str, Sequence[Judged]]], list[CellOutcome]]

    def judged(self) -> dict[str, list[Judged]]:
        """The judgements of each category, in the order in which they were made."""
        return {name: review.judgements.read() for name, review in self.categories.items()}

    def queue(self, order: Order = "newest") -> Queue:
        """What waits to be judged."""
        records = self.stopped.read()
        standing_now = {name: standing(judged) for name, judged in self.judged().items()}
        shown = [record for record in records if self.stopped.picture(record) is not None]
        there = {(record.category, record.digest) for record in shown}
        lost = [record for record in records if (record.category, record.digest) not in there]
        return Queue(
            waiting(images_of(shown), standing_now, order), len(waiting(images_of(lost), standing_now))
        )

    def judge(
        self, category: str, digest: str, verdict: Verdict, defect_type: str | None, seen: str | None
    ) -> Judged:
        """Judge an image that waits, or that somebody was unsure of.

        Raises:
            NotThere: there is no such image, or its picture is not kept any more.
            JudgedMeanwhile: it was judged since it was looked at.
            CannotJudge: it cannot be judged so.
        """
        review = self._category(category)
        found = [i for i in self.stopped.images() if (i.category, i.digest) == (category, digest)]
        if not found:
            raise NotThere("no picture is kept of such an image any more")
        picture = next(path for record in found[0].records if (path := self.stopped.picture(record)))
        return review.judge(found[0], picture, verdict, by=self.by, defect_type=defect_type, seen=seen)

    def undo(self, category: str, judgement_id: str) -> Judged:
        """Take a judgement back.

        Raises:
            NotThere: there is no such category.
            CannotJudge: the judgement cannot be taken back, or there is none of this id.
        """
        return self._category(category).undo(judgement_id, by=self.by)

    def complete(self) -> list[str]:
        """Finish what a kill left half done; what cannot be finished, in words."""
        return [fault for review in self.categories.values() for fault in review.complete()]

    def picture(self, record_id: str, *, with_map: bool) -> bytes:
        """The picture of a record as JPEG, with its anomaly map over it or without.

        Raises:
            NotThere: there is no such record, or nothing is kept of it.
            ValueError: the map does not belong to the picture.
        """
        record = self._record(record_id)
        picture, reading = self.stopped.picture(record), self.reading(record.category)
        if picture is None:
            raise NotThere("the picture is not kept any more")
        if not with_map:
            return picture_jpeg(picture, reading)
        anomaly_map = self.stopped.anomaly_map(record)
        if anomaly_map is None:
            raise NotThere("no anomaly map is kept of it")
        return map_jpeg(picture, anomaly_map, reading, self.colours(record.category, record.detector))

    def outcome(self) -> list[CellOutcome]:
        """What the cells make of the judged images now."""
        return self.outcomes({name: list(standing(of).values()) for name, of in self.judged().items()})

    def types(self, category: str) -> list[str]:
        """The types of defects that are known of a category: those of its test images, and those judged."""
        review = self._category(category)
        judged = {one.judgement.defect_type for one in review.judgements.read() if one.stands}
        return sorted({*review.filing().type_folders, *(kind for kind in judged if kind)})

    def _category(self, name: str) -> CategoryReview:
        try:
            return self.categories[name]
        except KeyError:
            raise NotThere(f"there is no category {name!r} here") from None

    def _record(self, record_id: str) -> LineRecord:
        record = self.stopped.find(record_id)
        if record is None:
            raise NotThere("there is no such record")
        return record
