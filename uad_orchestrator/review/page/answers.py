"""What the page is told, as JSON values."""

from __future__ import annotations

from typing import Any

from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.review.category_review import CategoryReview
from uad_orchestrator.review.judgement import Judged
from uad_orchestrator.review.review import Queue, Review
from uad_orchestrator.review.stopped import StoppedImage

MOST_SHOWN = 500
"""Images that wait, sent at once; those behind them come when these are judged."""


def queue_json(review: Review, queue: Queue) -> dict[str, Any]:
    """The images that wait, and how many there are in all."""
    return {
        "images": [_card(review, image) for image in queue.images[:MOST_SHOWN]],
        "total": len(queue.images),
        "without_picture": queue.without_picture,
    }


def judged_json(review: Review, judged: dict[str, list[Judged]]) -> dict[str, Any]:
    """All judgements, the last first."""
    every = sorted(
        (one for of in judged.values() for one in of), key=lambda one: one.judgement.time, reverse=True
    )
    shown = {record.id for record in review.stopped.read() if review.stopped.picture(record) is not None}
    return {"judged": [judgement_json(one, shown) for one in every]}


def judgement_json(judged: Judged, shown: set[str] | None = None) -> dict[str, Any]:
    """One judgement.

    Args:
        judged: it, with what became of it.
        shown: the records whose pictures are there.
    """
    said = judged.judgement
    records = [stop.record for stop in said.stopped.values() if shown is None or stop.record in shown]
    return {
        "id": said.id,
        "category": said.category,
        "digest": said.digest,
        "image": said.image,
        "verdict": said.verdict,
        "defect_type": said.defect_type,
        "by": said.by,
        "time": said.time,
        "told": judged.told(),
        "became": _became(judged),
        "stands": judged.stands,
        "taken": judged.taken_as is not None,
        "record": records[0] if records else None,
    }


def category_json(review: CategoryReview, types: list[str]) -> dict[str, Any]:
    """A category: the types of its defects, and what cannot be said of its images, with the reason."""
    return {"category": review.category, "types": types, "refusals": review.filing().refusals()}


def _card(review: Review, image: StoppedImage) -> dict[str, Any]:
    newest = image.newest
    return {
        "category": image.category,
        "digest": image.digest,
        "image": newest.image,
        "time": newest.to_json()["time"],
        "size": [newest.height, newest.width],
        "records": [_record(review, record) for record in image.records],
    }


def _record(review: Review, record: LineRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "detector": record.detector,
        "score": record.score,
        "threshold": record.threshold,
        "review_threshold": record.review_threshold,
        "decision": record.decision,
        "time": record.to_json()["time"],
        "warnings": list(record.warnings),
        "map": review.stopped.anomaly_map(record) is not None,
    }


def _became(judged: Judged) -> str:
    """What became of the image, in words; empty: nothing."""
    if not judged.stands:
        return f"undone by {judged.undone_by} at {(judged.undone_at or '')[:16].replace('T', ' ')} UTC"
    if judged.taken_as:
        return f"taken in as {judged.taken_as}"
    if judged.held_for:
        return f"in quarantine: {judged.held_for}"
    if judged.judgement.verdict == "unsure":
        return ""
    if judged.filed_as is None:
        return "not put in its place yet: the next start of the review does it"
    return f"{'lies at' if judged.added else 'was there already:'} {judged.filed_as}"
