"""How the figures of a leaderboard are called and written, the same in terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from uad_orchestrator.metrics.catalogue import find

Value = float | int | str | tuple[float, float] | None
Kind = Literal["ratio", "value", "seconds", "count", "bytes", "text", "interval"]

MISSING = "–"
INTERVAL = "_interval"
"""Behind the name of a figure: its interval."""
TIED = "≈"
TIED_NOTE = (
    "≈ cannot be told apart from the best image AUROC: the 95 % interval of the difference, by paired bootstrap "
    "over the same test images, holds 0."
)


class HasFigures(Protocol):
    """A row of the leaderboard, or a detector's means."""

    @property
    def std(self) -> Mapping[str, float]: ...
    def value(self, key: str) -> Value: ...


@dataclass(frozen=True)
class Column:
    """One figure of a row.

    Attributes:
        key: its published name.
        heading: what tables call it.
        kind: how it is written.
        explanation: one sentence for people who do not know it.
    """

    key: str
    heading: str
    kind: Kind
    explanation: str


BESIDE_METRICS = {
    column.key: column
    for column in (
        Column("test_images", "good + defective", "text", "Test images: what the intervals are so wide for."),
        Column(
            "threshold", "threshold", "value", "Calibrated on normals. Anomalous means score > threshold."
        ),
        Column("threshold_source", "threshold from", "text", "Which normals the image threshold comes from."),
        Column(
            "guaranteed_rate",
            "guaranteed FPR",
            "ratio",
            "The chance that a new normal lies above the threshold, at most.",
        ),
        Column(
            "false_positive_limit",
            "FPR limit",
            "ratio",
            "The rate that the threshold does not exceed, at 95 % confidence.",
        ),
    )
}
"""The columns that are no metrics."""


def column(key: str) -> Column:
    """The column of a published name; a metric that is not in the catalogue is a ratio under its own name.

    >>> column("aupro_0.05").heading, column("false_positive_rate").heading, column("threshold_source").heading
    ('AUPRO@0.05', 'FPR', 'threshold from')
    """
    metric = find(key)
    if metric is not None:
        return Column(key, metric.heading, metric.kind, metric.explanation)
    of = find(key.removesuffix(INTERVAL))
    if of is not None and of.interval:
        explanation = f"Of the {of.heading}, on other test images of the same kind: {of.interval}."
        return Column(key, "95% interval", "interval", explanation)
    return BESIDE_METRICS.get(key) or Column(key, key.replace("_", " "), "ratio", "")


def written(value: Value, kind: Kind) -> str:
    """A figure as tables show it.

    >>> written(0.98765, "ratio"), written(0.0123, "seconds"), written(2.5, "seconds")
    ('0.988', '12.3 ms', '2.50 s')
    >>> written((0.91, 0.985), "interval")
    '0.910–0.985'
    >>> written(16384, "count"), written(5_000_000, "bytes"), written(None, "ratio")
    ('16,384', '5.0 MB', '–')
    """
    if value is None or isinstance(value, str):
        return MISSING if value is None else value
    if isinstance(value, tuple):
        return "–".join(written(end, "ratio") for end in value)
    writers: dict[Kind, Callable[[float], str]] = {
        "ratio": lambda ratio: f"{ratio:.3f}",
        "seconds": lambda seconds: f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms",
        "count": lambda count: f"{count:,}",
        "bytes": _bytes_written,
    }
    return writers.get(kind, lambda number: f"{number:.4g}")(value)


def shown(row: HasFigures, key: str, *, tied: bool = False) -> str:
    """A figure of a row as tables show it.

    Args:
        row: a row of the board, or a detector's means; a mean over seeds comes with its standard deviation.
        key: a published name.
        tied: the row's image AUROC is tied with the best, and marked so.
    """
    text = written(row.value(key), column(key).kind)
    if key in row.std:
        text += f" ± {written(row.std[key], column(key).kind)}"
    return f"{text} {TIED}" if tied and key == "image_auroc" else text


def with_intervals(names: Iterable[str]) -> tuple[str, ...]:
    """The figures, each with its interval behind it; of the image AUROC with the number of test images, too.

    >>> with_intervals(("image_auroc", "image_ap", "recall"))
    ('image_auroc', 'image_auroc_interval', 'test_images', 'image_ap', 'recall', 'recall_interval')
    """
    keys: list[str] = []
    for name in names:
        metric = find(name)
        keys += [name, f"{name}{INTERVAL}"] if metric is not None and metric.interval else [name]
        keys += ["test_images"] if name == "image_auroc" else []
    return tuple(keys)


def _bytes_written(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
