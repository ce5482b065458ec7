"""Means over a dataset's categories that may be compared: every detector's over the same categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from uad_orchestrator.reporting.leaderboard import LeaderboardRow

NOT_MEASURED = "not measured by this dataset's protocol"

MEAN_FIELDS = ("recall", "false_positive_rate", "seconds_per_image_p50", "seconds_per_image_p95")


class DetectorMeans(BaseModel):
    """A detector's means; None where the shared categories do not have the figure."""

    model_config = ConfigDict(frozen=True)

    detector: str
    values: dict[str, float | None]


class DatasetMeans(BaseModel):
    """Means per detector over the categories of a dataset for which all compared detectors have results.

    Attributes:
        categories: the categories the means are over.
        left_out: the dataset's other categories, each with the reason.
        not_compared: detectors without any fresh result on the dataset, each with the reason.
        narrower: figures that some shared categories do not have, each with the categories that do.
        detectors: the compared detectors, by name.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    categories: tuple[str, ...]
    left_out: dict[str, str]
    not_compared: dict[str, str]
    narrower: dict[str, tuple[str, ...]]
    detectors: tuple[DetectorMeans, ...]

    @property
    def worth_showing(self) -> bool:
        """Whether they say more than the rows: the dataset has several categories."""
        return len(self.categories) + len(self.left_out) > 1

    def note(self) -> str:
        """In one sentence what the means are over; every exception is named.

        >>> DatasetMeans(dataset="d", categories=("a",), left_out={"b": "padim has failed"}, not_compared={},
        ...              narrower={}, detectors=()).note()
        'Over 1 of 2 categories: a. Left out: b (padim has failed).'
        """
        total = len(self.categories) + len(self.left_out)
        if not self.categories:
            text = f"No category of {total} has fresh results of every compared detector."
        elif self.left_out:
            text = f"Over {len(self.categories)} of {total} categories: {', '.join(self.categories)}."
        else:
            text = f"Over all {total} categories: {', '.join(self.categories)}."
        if self.left_out:
            text += f" Left out: {_with_reasons(self.left_out)}."
        if self.not_compared:
            text += f" Not compared: {_with_reasons(self.not_compared)}."
        for metric, categories in self.narrower.items():
            text += f" {metric} over {', '.join(categories) or 'none'} only: the others do not have it."
        return text


def dataset_means(rows: Sequence[LeaderboardRow], metrics: Sequence[str]) -> DatasetMeans:
    """The means of one dataset's rows.

    Only fresh rows count: a mean that mixes versions compares nothing. A detector without any is not
    compared; a category that one of the compared detectors lacks is left out for all of them.

    Args:
        rows: all rows of one dataset.
        metrics: the published names of the metrics to average, beside recall, false-positive rate, seconds.
    """
    fresh = {(row.category, row.detector): row for row in rows if row.status == "fresh"}
    detectors = sorted({row.detector for row in rows})
    compared = [name for name in detectors if any(detector == name for _, detector in fresh)]
    categories = sorted({row.category for row in rows})
    shared = [c for c in categories if compared and all((c, name) in fresh for name in compared)]
    values: dict[str, dict[str, float | None]] = {name: {} for name in compared}
    narrower = {}
    for metric in (*metrics, *MEAN_FIELDS):
        having = [c for c in shared if all(fresh[c, name].value(metric) is not None for name in compared)]
        if any(
            fresh[c, name].reasons.get(metric) != NOT_MEASURED
            for c in shared
            for name in compared
            if c not in having
        ):
            narrower[metric] = tuple(having)
        for name in compared:
            found = [fresh[c, name].value(metric) for c in having]
            values[name][metric] = sum(found) / len(found) if found else None
    return DatasetMeans(
        dataset=rows[0].dataset,
        categories=tuple(shared),
        left_out={c: _why_left_out(c, compared, rows) for c in categories if c not in shared},
        not_compared={n: _why_not_compared(n, rows) for n in detectors if n not in compared},
        narrower=narrower,
        detectors=tuple(DetectorMeans(detector=name, values=values[name]) for name in compared),
    )


def _why_left_out(category: str, compared: Sequence[str], rows: Sequence[LeaderboardRow]) -> str:
    states = {row.detector: row.status for row in rows if row.category == category}
    if not compared:
        return "no fresh result"
    lacking = [name for name in compared if states.get(name) != "fresh"]
    return ", ".join(f"{name}: {states.get(name, 'no such cell')}" for name in lacking)


def _why_not_compared(detector: str, rows: Sequence[LeaderboardRow]) -> str:
    states = sorted({row.status for row in rows if row.detector == detector})
    return f"all {' or '.join(states)}"


def _with_reasons(reasons: dict[str, str]) -> str:
    return ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
