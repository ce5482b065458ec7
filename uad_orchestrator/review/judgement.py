"""What a person said of an image that the line stopped, and what became of the image since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from uad_orchestrator.metrics.thresholds.decision import Decision

Verdict = Literal["normal", "defect", "unsure"]
VERDICTS: tuple[Verdict, ...] = ("normal", "defect", "unsure")


@dataclass(frozen=True)
class Stop:
    """That a detector stopped the image: its record, score and decision."""

    record: str
    score: float
    decision: Decision


@dataclass(frozen=True)
class Judgement:
    """One person's word on one image.

    Attributes:
        id: 32 hex digits.
        time: when; ISO 8601, UTC.
        by: who.
        category: ``dataset/category``.
        image: its name, as the line recorded it.
        digest: SHA-256 (hex) of the recorded image; with it all records of the same image are judged.
        verdict: ``normal``, ``defect`` or ``unsure``.
        defect_type: of a defect; None of all others.
        picture: the file that was kept of it, relative to the folder of records.
        content: SHA-256 (hex) of that file.
        stopped: the detectors that stopped it.
    """

    id: str
    time: str
    by: str
    category: str
    image: str
    digest: str
    verdict: Verdict
    defect_type: str | None
    picture: str
    content: str
    stopped: Mapping[str, Stop] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Judgement:
        """From ``to_json``; what a later version added is passed over.

        Raises:
            TypeError: a value is missing, or is none of these.
            KeyError: likewise.
            ValueError: there is no such verdict, or its picture or type would lead out of their folders: whoever
                records can write the file that this is read from.
        """
        if values["verdict"] not in VERDICTS:
            raise ValueError(f"there is no verdict {values['verdict']!r}")
        if not _leads_inside(values["picture"]):
            raise ValueError(f"the picture {values['picture']!r} leads out of the records")
        kind = values["defect_type"]
        if kind is not None and not (_leads_inside(kind) and PurePosixPath(kind).name == kind):
            raise ValueError(f"the type {kind!r} can be no folder of test images")
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        stopped = {name: Stop(**stop) for name, stop in dict(values.get("stopped") or {}).items()}
        return cls(**known | {"stopped": stopped})


@dataclass(frozen=True)
class Judged:
    """A judgement, and what became of it.

    Attributes:
        judgement: the person's word.
        filed_as: the file that was made of it: in ``incoming``, or a test image; None: none yet, or none at all.
        added: whether that file was made for it; False where the dataset had the very image already.
        taken_as: the training image that a recalibration made of it, relative to the dataset's root.
        taken_at: when.
        held_for: why a recalibration put it in quarantine instead.
        undone_at: when it was taken back; ISO 8601.
        undone_by: by whom.
        removed: whether its file was taken away again.
    """

    judgement: Judgement
    filed_as: str | None = None
    added: bool = True
    taken_as: str | None = None
    taken_at: str | None = None
    held_for: str | None = None
    undone_at: str | None = None
    undone_by: str | None = None
    removed: bool = False

    @property
    def stands(self) -> bool:
        """Whether it was not taken back."""
        return self.undone_at is None

    def told(self) -> str:
        """Who said what, and when, in words."""
        said = self.judgement
        what = f"defect ({said.defect_type})" if said.verdict == "defect" else said.verdict
        return f"judged {what} by {said.by} at {said.time[:16].replace('T', ' ')} UTC"

    def after(self, event: Mapping[str, Any]) -> Judged:
        """With something that happened to it; an event of a later version changes nothing.

        Raises:
            KeyError: the event lacks a value.
        """
        match event["event"]:
            case "filed":
                return replace(self, filed_as=event["path"], added=bool(event["added"]))
            case "taken":
                return replace(self, taken_as=event["path"], taken_at=event["time"], held_for=None)
            case "held":
                return replace(self, held_for=event["reason"])
            case "undone":
                return replace(self, undone_at=event["time"], undone_by=event["by"])
            case "removed":
                return replace(self, removed=True)
            case _:
                return self


def standing(judged: Sequence[Judged]) -> dict[str, Judged]:
    """The judgement that holds of each image, by digest: the last that was not taken back.

    Args:
        judged: in the order in which they were made.
    """
    return {one.judgement.digest: one for one in judged if one.stands}


def _leads_inside(path: str) -> bool:
    """Whether a path stays below the folder that it is appended to."""
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\0" not in path


def now() -> str:
    """The time, as judgements have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
