"""Thresholds with where they come from, normals or people, and what they promise, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from uad_orchestrator.metrics.thresholds.conformal import RateLaw, conformal_rank, scores_needed

_FEW = "; largest of "
_ASIDE = "; left aside, far above the other "
_SET_BY = "; set by one image, "
_NAMED = 3
"""Images left aside that a source names; the others are counted."""

OPTIMISTIC = "train (optimistic)"
"""The source of thresholds from normals that the model may have been trained on."""

_BY_GROUP = "leave_one_group_out"

TEST_LABELS = "chosen on test labels"
"""Said wherever a threshold is shown that was chosen by looking at what the test images are."""

NO_MAP = "this model gives no anomaly map"
"""Why there is no map, no pixel threshold and no pixel metric."""


class Pin(BaseModel):
    """A threshold instead of the calibrated one: as a value, or as the false-positive rate that normals give it by.

    As a rate it is taken from the normals that calibrate each time, so it follows them; as a value it stays.

    >>> pin = Pin(threshold=0.4, chosen_on="test labels", by="anna", at=date(2026, 11, 27), why="misses cost most")
    >>> str(pin)
    'pinned by anna on 2026-11-27: misses cost most; chosen on test labels'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    threshold: FiniteFloat | None = Field(None, description="its value; anomalous means score > threshold")
    fpr: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="the false-positive rate that it is taken from the calibration normals by; instead of `threshold`",
    )
    chosen_on: Literal["normals", "test labels"] | None = Field(
        None, description="what it was chosen on, `normals` or `test labels`; default: nobody says"
    )
    scores: str | None = Field(
        None,
        description="of a value, a digest of the memory bank and the settings of the scores that it was chosen for; "
        "where they are others, that is said; default: nobody says",
    )
    by: str = Field(min_length=1, description="who pinned it")
    at: date = Field(description="when, e.g. 2026-11-27")
    why: str = Field("", description="the reason")

    @property
    def on_test_labels(self) -> bool:
        """Whether test labels had a say in it: then the figures of the test images flatter it."""
        return self.chosen_on == "test labels"

    def __str__(self) -> str:
        reason = f": {self.why}" if self.why else ""
        return f"pinned by {self.by} on {self.at}{reason}{f'; {TEST_LABELS}' if self.on_test_labels else ''}"

    @field_validator("by", "why")
    @classmethod
    def _one_line(cls, text: str) -> str:
        if not text.isprintable():
            raise ValueError("holds a line break or a control character: write it on one line")
        return text

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.threshold is None) == (self.fpr is None):
            raise ValueError("needs one of `threshold: <value>` and `fpr: <rate>`")
        return self


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and where it comes from. Anomalous means score > threshold.

    Attributes:
        threshold: in the unit of the scores; NaN where no normals were left to calibrate on.
        source: ``validation``, ``held_out`` (normals not used as references), ``leave_one_image_out``,
            ``leave_one_group_out`` (either may end in ``, refilled`` or ``, scaled by 10 refilled``), ``calibration
            folder`` (normals a checkpoint has not seen),
            ``train (optimistic)`` (those it may have seen), or ``none: <reason>``; remarks follow behind ``; ``.
            Of a pinned threshold: by whom, when and why, and whether it was chosen on test labels.
        n: how many normals it was taken from; 0 where it was pinned as a value.
        contamination: the nominal false-positive rate.
        left_aside: the names of normals that it was not taken from, their scores being far above all others.
        set_by: the name of the normal that alone sets it, the next score being three times smaller or more.
        largest_group: most images of one group (a part, a camera) among the normals; None: it was not recorded.
        rank: its place among the ``n`` scores; None: the conformal rank of ``contamination``, at most ``n``.
        pinned: who chose it, when and why; None: it is the calibrated one.
        calibrated_on: of a pinned one, which normals the calibrated one comes from.
    """

    threshold: float
    source: str
    n: int
    contamination: float
    left_aside: tuple[str, ...] = ()
    set_by: str | None = None
    largest_group: int | None = 1
    rank: int | None = None
    pinned: Pin | None = None
    calibrated_on: str | None = None

    @property
    def origin(self) -> str:
        """The source without remarks on the normals' number: where other scores of the same images are from."""
        source = self.source if self.calibrated_on is None else self.calibrated_on
        for remark in (_ASIDE, _FEW, _SET_BY):
            source = source.split(remark, 1)[0]
        return source

    @property
    def reason(self) -> str:
        """Why there is no threshold; empty where there is one."""
        return self.source.removeprefix("none: ") if math.isnan(self.threshold) else ""

    @property
    def place(self) -> int:
        """Its rank among the ``n`` scores; 0 without any."""
        return self.rank or min(conformal_rank(self.n, self.contamination), self.n)

    @property
    def guaranteed_rate(self) -> float:
        """The chance, at most, that a new normal lies above it; NaN where nothing is guaranteed.

        ``(n + 1 - rank) / (n + 1)``: at most ``contamination`` where the normals are enough for that, and where they
        are single images; of an image of a new group where they come in groups (see ``metrics.thresholds.conformal``).

        >>> OperatingPoint(0.4, "validation", n=4, contamination=0.05).guaranteed_rate
        0.2
        """
        return math.nan if self.unguaranteed else self._law.mean

    @property
    def false_positive_limit(self) -> float:
        """The false-positive rate that this very threshold does not exceed, at 95 % confidence; NaN where unknown.

        The upper limit of Clopper and Pearson of the share of the ``n`` normals that lie above it.
        """
        return math.nan if self.unguaranteed else self._law.limit()

    @property
    def promise(self) -> dict[str, float]:
        """Both rates by name, as reports, boards and bundles have them; NaN where nothing is guaranteed."""
        return {"guaranteed_rate": self.guaranteed_rate, "false_positive_limit": self.false_positive_limit}

    @property
    def unguaranteed(self) -> str:
        """Why no false-positive rate is guaranteed; empty where one is."""
        if math.isnan(self.threshold):
            return f"no threshold: {self.reason}"
        if self.is_pinned_value:
            return "the threshold was pinned as a value, not taken from normals"
        if self.origin == OPTIMISTIC:
            return "the model may have been trained on the normals that set the threshold"
        return "" if self.largest_group else "how many images its groups have was not recorded"

    @property
    def is_pinned_value(self) -> bool:
        """Whether people gave the value itself, so that no normals stand behind it."""
        return self.pinned is not None and self.pinned.threshold is not None

    @property
    def _law(self) -> RateLaw:
        return RateLaw.of_rank(self.place, self.n, self.largest_group or 1)

    def with_remarks(self, next_score: float) -> OperatingPoint:
        """The point whose source says, too, what is odd about the normals and their number.

        Args:
            next_score: the largest score below that of ``set_by``, where one image sets the threshold.

        Returns:
            a copy; ``origin`` stays what it is.
        """
        said = f"{_ASIDE}{self.n}: {_listed(self.left_aside)}" if self.left_aside else ""
        needed = scores_needed(self.contamination)
        if self.n < needed:
            promise = "" if self.unguaranteed else f", guaranteed {self.guaranteed_rate:.2g}"
            said += f"{_FEW}{self.n} scores{promise}: {needed} or more are needed "
            said += f"for contamination {self.contamination:g}"
        if self.set_by is not None:
            said += f"{_SET_BY}{self.set_by}: the next has {next_score:.3g}"
        return replace(self, source=self.source + said)

    def stored(self) -> dict[str, Any]:
        """The fields as JSON values, which ``from_json`` reads.

        Returns:
            the fields by name; NaN is null, and those that say nothing are left out.
        """
        values = {**asdict(self), "left_aside": list(self.left_aside)}
        values["threshold"] = None if math.isnan(self.threshold) else self.threshold
        values["pinned"] = self.pinned and self.pinned.model_dump(mode="json", exclude_defaults=True)
        group = _usual_group(self.origin)
        usual: dict[str, Any] = {"left_aside": [], "set_by": None, "largest_group": group, "rank": None}
        usual |= {"pinned": None, "calibrated_on": None}
        return {name: value for name, value in values.items() if name not in usual or value != usual[name]}

    def to_json(self) -> dict[str, Any]:
        """The point as JSON values, with what it promises.

        Returns:
            the fields by name, ``guaranteed_rate`` and ``false_positive_limit``; NaN is null, and fields that say
            nothing are left out.
        """
        return self.stored() | {
            name: None if math.isnan(rate) else rate for name, rate in self.promise.items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OperatingPoint:
        """Read what ``to_json`` gave, or ``stored``, of an earlier version too.

        Args:
            values: the fields by name; others are passed over.

        Returns:
            the point.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known["threshold"] = math.nan if values["threshold"] is None else values["threshold"]
        known["left_aside"] = tuple(values.get("left_aside", ()))
        if known.get("pinned") is not None:
            known["pinned"] = Pin.model_validate(known["pinned"])
        point = cls(**known)
        if "largest_group" in values:
            return point
        return replace(point, largest_group=_usual_group(point.origin))


@dataclass(frozen=True)
class SegmentationPoint:
    """The threshold of MVTec AD 2's SegF1: mean + 3 std of the pixels of held-out normal images' maps.

    Attributes:
        threshold: of map values; NaN where there are no such maps, for the reason in ``source``.
        source: which normals: as in ``OperatingPoint``. Test images never take part.
        n: how many maps it was taken from.
    """

    threshold: float
    source: str
    n: int

    @classmethod
    def of_normal_maps(cls, mean: float | None, std: float | None, n: int, source: str) -> SegmentationPoint:
        """From the statistics of the maps of the normals that calibrate.

        Args:
            mean: of all their pixels, in the unit of the maps; None where there are no maps.
            std: their standard deviation, likewise.
            n: how many maps.
            source: which normals, or why there are none.

        Returns:
            the point.

        >>> SegmentationPoint.of_normal_maps(1.0, 0.5, 4, "validation")
        SegmentationPoint(threshold=2.5, source='validation', n=4)
        """
        if mean is None or std is None:
            return cls(math.nan, source, 0)
        return cls(mean + 3 * std, source, n)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _usual_group(origin: str) -> int | None:
    """Most images of a group, where a point does not say it: earlier versions did not."""
    return None if origin.startswith(_BY_GROUP) else 1
