"""Every metric of a cell, one row each: what it is called, what it says, and which way is better.

The board and its columns, the means, the report, the model card, the lineage index's view, Dagster's metadata and
docs/metrics.md read these rows. So a metric that is computed needs no more than its row to stand in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

Scope = Literal["image", "pixel", "operating point", "review", "line", "cost"]
"""What a metric is taken of: image scores, pooled pixels, what the image threshold does, the grey zone below it, what
both mean on a line with the project's ``costs``, time and memory."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

AUPRO_LIMITS = (0.3, 0.05)
"""False-positive rates up to which AUPRO integrates: MVTec AD's and MVTec AD 2's."""


NEWCOMBE = "Newcombe's method 5"
CLOPPER_PEARSON = "Clopper-Pearson"
JACKKNIFE = "jackknife over images"


@dataclass(frozen=True)
class Metric:
    """One metric, or a family of them with a limit each: ``aupro`` has ``aupro_0.3``, ``aupro_0.05``, ...

    Attributes:
        name: its name in metrics.json; of a family, what stands before ``_<limit>``.
        heading: what tables call it; of a family, what stands before ``@<limit>``.
        scope: what it is taken of. Where in metrics.json it stands follows from that.
        explanation: one sentence for people who do not know it; a family has ``{limit}`` in it.
        follows: the evaluator or paper whose definition it is.
        kind: how its figures are written. A ratio lies in 0..1.
        direction: whether higher or lower is better.
        always: it is measured under every protocol; otherwise only where the protocol asks for it.
        limits: of a family, the false-positive rates that every board has; None: not a family.
        headline: its place among the figures that are shown where there is little room, 1 first.
        headline_limit: of a family, which limit that is.
        per_defect: it is taken of each defect type, too.
        averaged: its mean over the categories of a dataset is shown.
        on_board: every row of the board has it.
        interval: how its interval is made (see ``intervals``); None: it has none.
    """

    name: str
    heading: str
    scope: Scope
    explanation: str
    follows: str
    kind: Literal["ratio", "value", "seconds", "count", "bytes"] = "ratio"
    direction: Literal["higher", "lower"] = "higher"
    always: bool = True
    limits: tuple[float, ...] | None = None
    headline: int | None = None
    headline_limit: float | None = None
    per_defect: bool = False
    averaged: bool = True
    on_board: bool = True
    interval: str | None = None

    def at(self, limit: float) -> Metric:
        """The member of the family with this limit.

        Args:
            limit: a false-positive rate in (0, 1].

        Returns:
            the metric, e.g. ``aupro_0.3`` of ``aupro``.

        Raises:
            ValueError: a limit outside (0, 1], or the metric is not a family.

        >>> AUPRO.at(0.3).name, AUPRO.at(0.3).heading
        ('aupro_0.3', 'AUPRO@0.3')
        """
        if self.limits is None:
            raise ValueError(f"{self.name} has no limit")
        if not 0 < limit <= 1:
            raise ValueError(f"the limit of {self.heading} is a false-positive rate in (0, 1], got {limit!r}")
        return replace(
            self,
            name=f"{self.name}_{limit:g}",
            heading=f"{self.heading}@{limit:g}",
            explanation=self.explanation.format(limit=f"{limit:g}"),
            limits=None,
        )


AUPRO = Metric(
    "aupro", "AUPRO", "pixel",
    "Per-region overlap up to a pixel false-positive rate of {limit}.",
    "MVTec AD's evaluator (Bergmann et al., IJCV 2021); MVTec AD 2 takes the limit 0.05",
    always=False, limits=AUPRO_LIMITS, headline=3, headline_limit=0.3, per_defect=True, interval=JACKKNIFE,
)  # fmt: skip
SPRO = Metric(
    "spro", "sPRO", "pixel",
    "Saturated overlap of anomalous places up to a pixel false-positive rate of {limit}.",
    "MVTec LOCO AD's evaluator 2.0 (Bergmann et al., IJCV 2022)",
    always=False, limits=(), headline=4, headline_limit=0.05, per_defect=True, interval=JACKKNIFE,
)  # fmt: skip

METRICS: tuple[Metric, ...] = (
    Metric(
        "image_auroc", "image AUROC", "image",
        "Images: chance that a defect outscores a normal.",
        "`sklearn.metrics.roc_auc_score`; MVTec LOCO AD: the mean over its two kinds of defects",
        headline=1, per_defect=True, interval=NEWCOMBE,
    ),
    Metric(
        "image_ap", "image AP", "image",
        "Images: average precision over all thresholds.",
        "`sklearn.metrics.average_precision_score`", per_defect=True,
    ),
    Metric(
        "image_f1_max", "image F1-max", "image",
        "Best F1 of any threshold. Reads test labels.",
        "the best `sklearn.metrics.f1_score`",
    ),
    Metric(
        "pixel_auroc", "pixel AUROC", "pixel",
        "Pixels of all test images pooled, raw maps.",
        "`sklearn.metrics.roc_auc_score`", headline=2, per_defect=True, interval=JACKKNIFE,
    ),
    Metric(
        "pixel_ap", "pixel AP", "pixel",
        "Average precision of the pooled pixels.",
        "`sklearn.metrics.average_precision_score`", per_defect=True, interval=JACKKNIFE,
    ),
    Metric(
        "pixel_f1_max", "pixel F1-max", "pixel",
        "Best pixel F1 of any threshold. Reads test labels.",
        "the best `sklearn.metrics.f1_score`", interval=JACKKNIFE,
    ),
    AUPRO,
    SPRO,
    Metric(
        "aupimo", "AUPIMO", "pixel",
        "Defect found at 1e-5 to 1e-4 false positives on normal images.",
        "Bertoldo et al., BMVC 2024, at every score", always=False, per_defect=True, interval=JACKKNIFE,
    ),
    Metric(
        "map_max_auroc", "map-max AUROC", "image",
        "Images scored by the maxima of their maps.",
        "MVTec LOCO AD's evaluator 2.0", always=False, per_defect=True, interval=NEWCOMBE,
    ),
    Metric(
        "seg_f1", "SegF1", "pixel",
        "Pixel F1 at mean + 3 std of the maps of held-out normals.",
        "MVTec AD 2 (Heckler-Kram et al., 2025)", always=False, headline=5, per_defect=True, interval=JACKKNIFE,
    ),
    Metric(
        "false_positive_rate", "FPR", "operating point",
        "Share of normal test images above the threshold.",
        "1 - specificity", direction="lower", headline=7, interval=CLOPPER_PEARSON,
    ),
    Metric(
        "recall", "recall", "operating point",
        "Share of defective test images above the threshold.",
        "`sklearn.metrics.recall_score`", headline=6, per_defect=True, interval=CLOPPER_PEARSON,
    ),
    Metric(
        "precision", "precision", "operating point",
        "Share of defects among the images above the threshold.",
        "`sklearn.metrics.precision_score`", averaged=False,
    ),
    Metric(
        "f1", "F1", "operating point",
        "F1 at the calibrated threshold.",
        "`sklearn.metrics.f1_score`", averaged=False,
    ),
    Metric(
        "iou", "IoU", "operating point",
        "Defects above the threshold, as a share of all that is defective or above it.",
        "`sklearn.metrics.jaccard_score`", averaged=False, on_board=False,
    ),
    Metric(
        "share_in_review", "in review", "review",
        "Share of normal test images in the grey zone, which a person looks at.",
        "above the conformal threshold of `review.from_fpr`, not above the image threshold",
        direction="lower", always=False, averaged=False, interval=CLOPPER_PEARSON,
    ),
    Metric(
        "defects_in_review", "defects in review", "review",
        "Share of defective test images in the grey zone.",
        "likewise", always=False, averaged=False, interval=CLOPPER_PEARSON,
    ),
    Metric(
        "expected_cost", "expected cost", "line",
        "Cost of wrong decisions per part of the line, by `costs`.",
        "defect_rate × miss × P(miss) + (1 - defect_rate) × false_alarm × P(false alarm)",
        "value", "lower", always=False, averaged=False,
    ),
    Metric(
        "seconds_per_image_p50", "time p50", "cost",
        "Median time per image.",
        "wall time from file to score", "seconds", "lower", headline=8,
    ),
    Metric(
        "seconds_per_image_p95", "time p95", "cost",
        "95 % of the images are faster than this.",
        "wall time from file to score", "seconds", "lower",
    ),
    Metric(
        "bank_rows", "bank rows", "cost",
        "Patch embeddings in the memory bank.",
        "rows of the bank", "count", "lower", averaged=False,
    ),
    Metric(
        "bank_bytes", "bank size", "cost",
        "Size of the memory bank.",
        "bytes of the artifact", "bytes", "lower", averaged=False,
    ),
)  # fmt: skip
"""All metrics, in the order in which tables show them."""


@cache
def find(name: str) -> Metric | None:
    """The metric of this name, of a family the member with the limit; None for a name that is not known.

    >>> find("spro_0.05").explanation
    'Saturated overlap of anomalous places up to a pixel false-positive rate of 0.05.'
    >>> find("aupro"), find("pixel_auroc_0.3")
    (None, None)
    """
    row, limit = _row_of(name)
    return row if row is None or limit is None else row.at(limit)


def metrics_of(*scopes: Scope) -> tuple[Metric, ...]:
    """The rows of these scopes, in the order of ``METRICS``; families unresolved."""
    return tuple(metric for metric in METRICS if metric.scope in scopes)


def averaged(*scopes: Scope) -> tuple[Metric, ...]:
    """Those of them that are averaged over the categories of a dataset: what overviews show."""
    return tuple(metric for metric in metrics_of(*scopes) if metric.averaged)


@cache
def board_metrics() -> tuple[str, ...]:
    """The metrics of images and pixels that every board, and the index's view, has a column for.

    >>> board_metrics()[0], board_metrics()[-2:]
    ('image_auroc', ('aupro_0.3', 'aupro_0.05'))
    """
    names: list[str] = []
    for metric in metrics_of("image", "pixel"):
        if metric.limits is not None:
            names += [metric.at(limit).name for limit in metric.limits]
        elif metric.always:
            names.append(metric.name)
    return tuple(names)


def headlines(*scopes: Scope) -> tuple[Metric, ...]:
    """The metrics of these scopes that are shown where there is little room, the most asked for first.

    >>> [metric.name for metric in headlines("image", "pixel", "cost")]
    ['image_auroc', 'pixel_auroc', 'aupro_0.3', 'spro_0.05', 'seg_f1', 'seconds_per_image_p50']
    """
    chosen = [metric for metric in metrics_of(*scopes) if metric.headline is not None]
    return tuple(
        metric if metric.headline_limit is None else metric.at(metric.headline_limit)
        for metric in headlines_first(chosen)
    )


def headlines_first(metrics: Iterable[Metric]) -> list[Metric]:
    """Headlines in their order, the others after them as they came."""
    return sorted(metrics, key=lambda metric: math.inf if metric.headline is None else metric.headline)


def in_reading_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order of ``METRICS``, a family's limits from wide to narrow; names not known come last.

    >>> in_reading_order({"seg_f1", "aupro_0.05", "image_ap", "aupro_0.3", "a new one"})
    ('image_ap', 'aupro_0.3', 'aupro_0.05', 'seg_f1', 'a new one')
    """

    def place(name: str) -> tuple[int, float, str]:
        row, limit = _row_of(name)
        return len(METRICS) if row is None else METRICS.index(row), -(limit or 0.0), name

    return tuple(sorted(names, key=place))


@cache
def _row_of(name: str) -> tuple[Metric | None, float | None]:
    """The row that describes a name, and the limit in it."""
    family, _, end = name.rpartition("_")
    for row in METRICS:
        if row.limits is None and row.name == name:
            return row, None
        if row.limits is not None and row.name == family and (limit := _limit(end)) is not None:
            return row, limit
    return None, None


def _limit(text: str) -> float | None:
    try:
        limit = float(text)
    except ValueError:
        return None
    return limit if 0 < limit <= 1 else None
