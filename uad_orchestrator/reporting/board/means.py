"""Means over a dataset's categories that may be compared: every detector's over the same categories."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from uad_orchestrator.metrics.catalogue import averaged, headlines_first
from uad_orchestrator.metrics.intervals import mean_auroc_interval
from uad_orchestrator.reporting.board.best import best_of
from uad_orchestrator.reporting.board.repeats import Replicates, mean_replicates
from uad_orchestrator.reporting.board.row import LeaderboardRow
from uad_orchestrator.reporting.board.ties import ties

Images = Mapping[tuple[str, str], tuple[float, float]]
"""Normal and anomalous test images per (category key, detector)."""

NOT_MEASURED = "not measured by this dataset's protocol"


class DetectorMeans(BaseModel):
    """A detector's means; None where the shared categories do not have the figure.

    Attributes:
        detector: its name.
        values: its means by the metrics' published names.
        std: of a detector with repeats, the standard deviation over its seeds of the mean over the categories.
        image_auroc_interval: 95 %, of the same categories with other test images (``metrics.intervals``).
        within_noise_of: detectors whose mean image AUROC is tied with its own (paired bootstrap, 95 %).
    """

    model_config = ConfigDict(frozen=True)

    detector: str
    values: dict[str, float | None]
    std: dict[str, float] = {}
    image_auroc_interval: tuple[float, float] | None = None
    within_noise_of: tuple[str, ...] = ()

    def value(self, key: str) -> float | tuple[float, float] | None:
        """A figure by its published name.

        Args:
            key: e.g. ``aupro_0.3``, or ``image_auroc_interval``.

        Returns:
            The figure; None for one that is not averaged.
        """
        return self.image_auroc_interval if key == "image_auroc_interval" else self.values.get(key)


class DatasetMeans(BaseModel):
    """Means per detector over the categories of a dataset for which all compared detectors have results.

    Attributes:
        dataset: its name.
        categories: the categories the means are over.
        left_out: the dataset's other categories, each with the reason.
        not_compared: detectors without any fresh result on the dataset, each with the reason.
        narrower: figures that some shared categories do not have, each with the categories that do.
        n_test_normal: normal test images of the categories that the image AUROC is a mean over.
        n_test_anomalous: defective ones.
        detectors: the compared detectors, by name.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    categories: tuple[str, ...]
    left_out: dict[str, str]
    not_compared: dict[str, str]
    narrower: dict[str, tuple[str, ...]]
    n_test_normal: int | None = None
    n_test_anomalous: int | None = None
    detectors: tuple[DetectorMeans, ...]

    @property
    def worth_showing(self) -> bool:
        """Whether they say more than the rows: the dataset has several categories."""
        return len(self.categories) + len(self.left_out) > 1

    def within_noise(self) -> set[str]:
        """The detectors whose mean image AUROC is tied with the best.

        Returns:
            Their names, without those whose mean looks the same as the best: they are best, too.
        """
        known = {
            row.detector: mean
            for row in self.detectors
            if (mean := row.values.get("image_auroc")) is not None
        }
        best = best_of(known, "image_auroc")
        return {
            row.detector
            for row in self.detectors
            if row.detector not in best and best & {*row.within_noise_of}
        }

    def note(self) -> str:
        """What the means are over, in words; every exception is named.

        Returns:
            One sentence, and one for each kind of exception.

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
        alike: dict[tuple[str, ...], list[str]] = {}
        for metric, categories in self.narrower.items():
            alike.setdefault(categories, []).append(metric)
        for categories, metrics in alike.items():
            named = ", ".join(metrics)
            text += (
                f" {named} over {', '.join(categories)} only: the others have none."
                if categories
                else f" None has {named}."
            )
        if self.n_test_normal is not None:
            whose = " of image_auroc" if "image_auroc" in self.narrower else ""
            text += f" Test images{whose}: {self.n_test_normal} good + {self.n_test_anomalous} defective."
        return text


def averaged_beside() -> tuple[str, ...]:
    """What is averaged beside the metrics of images and pixels: what the thresholds do, and the time it takes.

    >>> averaged_beside()
    ('recall', 'false_positive_rate', 'seconds_per_image_p50', 'seconds_per_image_p95')
    """
    return tuple(metric.name for metric in headlines_first(averaged("operating point", "cost")))


def dataset_means(
    rows: Sequence[LeaderboardRow],
    metrics: Sequence[str],
    replicates: Replicates | None = None,
    images: Images | None = None,
) -> DatasetMeans:
    """The means of one dataset's rows, as papers give them: each category counts the same, however many images.

    Only fresh rows count: a mean over several versions could not be compared. A detector without any is not
    compared; a category that one of the compared detectors lacks is left out for all of them. Which detectors are
    tied comes from the mean of the categories' bootstrap replicates; the test images of different categories are
    drawn independently.

    Args:
        rows: all rows of one dataset, those of single seeds too.
        metrics: the published names of the metrics to average, beside those of ``averaged_beside``.
        replicates: of the image AUROC.
        images: that the intervals of the image AUROC count with.
    """
    compared_rows = [row for row in rows if row.repeat_of is None]
    fresh = {(row.category, row.detector): row for row in rows if row.status == "fresh"}
    detectors = sorted({row.detector for row in compared_rows})
    compared = [name for name in detectors if any(detector == name for _, detector in fresh)]
    categories = sorted({row.category for row in rows})
    shared = [c for c in categories if compared and all((c, name) in fresh for name in compared)]
    values: dict[str, dict[str, float | None]] = {name: {} for name in compared}
    spread: dict[str, dict[str, float]] = {name: {} for name in compared}
    narrower = {}
    for metric in (*metrics, *averaged_beside()):
        having = [c for c in shared if all(_comparable(fresh[c, name], metric) for name in compared)]
        lacking = set(shared) - set(having)
        if any(fresh[c, n].reasons.get(metric) != NOT_MEASURED for c in lacking for n in compared):
            narrower[metric] = tuple(having)
        for name in compared:
            values[name][metric] = _mean(fresh[c, name].value(metric) for c in having)
            seeds = fresh[having[0], name].repeats if having else ()
            if seeds:
                of_seeds = (_mean(fresh[c, seed].value(metric) for c in having) for seed in seeds)
                spread[name][metric] = statistics.stdev(mean for mean in of_seeds if mean is not None)
    dataset, scored = rows[0].dataset, narrower.get("image_auroc", tuple(shared))
    drawn = {n: mean_replicates([(f"{dataset}/{c}", n) for c in scored], replicates or {}) for n in compared}
    known = {name: found for name, found in drawn.items() if found is not None}
    tied = ties(known)

    def of_auroc(name: str) -> tuple[float, float] | None:
        singles = [(fresh[c, name].repeats or (name,))[0] for c in scored]
        counts = [(images or {}).get((f"{dataset}/{c}", n)) for c, n in zip(scored, singles, strict=True)]
        mean, there = values[name].get("image_auroc"), [count for count in counts if count is not None]
        if mean is None or len(there) < len(counts):
            return None
        return mean_auroc_interval(mean, there, drawn[name])

    return DatasetMeans(
        dataset=dataset,
        categories=tuple(shared),
        left_out=_left_out(set(categories) - set(shared), compared, compared_rows),
        not_compared={n: _why_not_compared(n, rows) for n in detectors if n not in compared},
        narrower=narrower,
        n_test_normal=_images(fresh, scored, compared, "n_test_normal"),
        n_test_anomalous=_images(fresh, scored, compared, "n_test_anomalous"),
        detectors=tuple(
            DetectorMeans(
                detector=name,
                values=values[name],
                std=spread[name],
                image_auroc_interval=of_auroc(name),
                within_noise_of=tied.get(name, ()),
            )
            for name in compared
        ),
    )


def _images(
    fresh: Mapping[tuple[str, str], LeaderboardRow], scored: Sequence[str], compared: Sequence[str], kind: str
) -> int | None:
    """The test images of the scored categories, which are the same for every detector; None where not known."""
    counts = [fresh[category, compared[0]].value(kind) for category in scored]
    return sum(counts) if counts and None not in counts else None


def _comparable(row: LeaderboardRow, metric: str) -> bool:
    """Whether a row has the figure, and of test images: a rate of held-out normals is no figure of the others' kind."""
    of_others = metric == "false_positive_rate" and row.false_positive_rate_from is not None
    return row.value(metric) is not None and not of_others


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _left_out(
    categories: Collection[str], compared: Sequence[str], rows: Sequence[LeaderboardRow]
) -> dict[str, str]:
    """Why each of some categories is left out."""
    states = {(row.category, row.detector): row.status for row in rows}
    return {category: _why_left_out(category, compared, states) for category in sorted(categories)}


def _why_left_out(category: str, compared: Sequence[str], states: Mapping[tuple[str, str], str]) -> str:
    if not compared:
        return "no fresh result"
    lacking = [name for name in compared if states.get((category, name)) != "fresh"]
    return ", ".join(f"{name}: {states.get((category, name), 'no such cell')}" for name in lacking)


def _why_not_compared(detector: str, rows: Sequence[LeaderboardRow]) -> str:
    states = sorted({row.status for row in rows if row.detector == detector})
    return f"all {' or '.join(states)}"


def _with_reasons(reasons: dict[str, str]) -> str:
    return ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
