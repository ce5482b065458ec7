"""The templates of the report, and what they call: how figures are written, which are best, where links lead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from uad_orchestrator.metrics.catalogue import Metric, averaged, find, headlines, metrics_of
from uad_orchestrator.reporting.board.best import best_of
from uad_orchestrator.reporting.board.columns import INTERVAL, TIED_NOTE, Column, column, shown, written
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.board.means import DatasetMeans, averaged_beside
from uad_orchestrator.reporting.board.remarks import remarks
from uad_orchestrator.reporting.board.row import PROMISE, LeaderboardRow

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def page_environment(
    board: Leaderboard, tied: AbstractSet[tuple[str, str]] | None = None, **more: Any
) -> Environment:
    """The templates, with all that is said of a board.

    Args:
        board: the whole board; a page may show some of its rows.
        tied: ``board.within_noise()``, where it is known.
        more: what else the pages need; ``cell_link`` and ``warnings_link`` say where links to a cell, and to what is
            said of a category, lead: into the same page by default.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    tied = board.within_noise() if tied is None else tied
    environment = Environment(
        loader=PackageLoader("uad_orchestrator.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(
        cell_link=lambda category_key, detector: f"#{cell_anchor(category_key, detector)}",
        warnings_link=lambda row: f"#{warnings_anchor(row.category_key)}",
        warnings_anchor=warnings_anchor,
        warned={(row.category_key, row.detector): row.warnings for row in board.rows},
        column=column,
        overview=_names(averaged("operating point")) + board.line_metrics + _names(averaged("cost")),
        at_threshold=_names(metrics_of("operating point")),
        at_threshold_headlines=_names(headlines("operating point")),
        headlines=_names(metric for metric in headlines("image", "pixel") if metric.always),
        promise=PROMISE,
        interval_of=_interval_of,
        best=board.best(),
        tied=tied,
        tied_note=TIED_NOTE,
        remarks_on=remarks,
        mean_fields=averaged_beside(),
        best_means=_best_means,
    )
    environment.globals.update(more)
    environment.filters.update(
        written=written, figure=shown, yaml=_yaml, inline=Markup, datasets=_by_dataset, loss=_loss
    )
    environment.filters |= {"heading": _heading, "broken": _broken}
    return environment


def cell_anchor(category_key: str, detector: str) -> str:
    """The id of a cell's section in the page.

    >>> cell_anchor("mvtec_ad/bottle", "dino robust")
    'cell-mvtec_ad-bottle-dino_20robust'
    """
    parts = [*category_key.split("/"), detector]
    return "cell-" + "-".join(re.sub(r"[^A-Za-z0-9_.]", lambda c: f"_{ord(c[0]):x}", part) for part in parts)


def warnings_anchor(category_key: str) -> str:
    """The id of what is said of a category and its cells in the section of warnings.

    >>> warnings_anchor("line7/housing")
    'warnings-line7-housing'
    """
    return cell_anchor(category_key, "").replace("cell-", "warnings-", 1).rstrip("-")


def _best_means(means: DatasetMeans, metrics: Sequence[str]) -> set[tuple[str, str]]:
    """(detector, metric) of the best means, as far as they are shown."""
    best: set[tuple[str, str]] = set()
    for metric in metrics:
        values = {row.detector: row.values.get(metric) for row in means.detectors}
        known = {name: value for name, value in values.items() if value is not None}
        best.update((name, metric) for name in best_of(known, metric))
    return best


def _interval_of(key: str) -> str | None:
    """The key of a figure's interval; None where it has none."""
    metric = find(key)
    return f"{key}{INTERVAL}" if metric is not None and metric.interval else None


def _heading(of: Column) -> Markup:
    """A heading that breaks between its words and before the limit, nowhere else."""
    from markupsafe import Markup, escape

    return Markup(str(escape(of.heading)).replace("-", "&#8209;").replace("@", "<wbr>@"))


def _broken(path: str) -> Markup:
    """A path that breaks behind its slashes."""
    from markupsafe import Markup, escape

    return Markup(str(escape(path)).replace("/", "/<wbr>"))


def _yaml(value: Any) -> str:
    """Settings in the project file's own manner."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the same text from C, where PyYAML has it
    return str(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)).rstrip()


def _by_dataset(rows: Sequence[LeaderboardRow]) -> dict[str, dict[str, dict[str, LeaderboardRow]]]:
    """dataset -> category -> detector -> row."""
    tree: dict[str, dict[str, dict[str, LeaderboardRow]]] = {}
    for row in rows:
        tree.setdefault(row.dataset, {}).setdefault(row.category, {})[row.detector] = row
    return tree


def _names(metrics: Iterable[Metric]) -> tuple[str, ...]:
    return tuple(metric.name for metric in metrics)


def _loss(value: float | None, key: str) -> int:
    """How strongly a matrix cell is tinted, in per cent: 0 at .99 and above, 60 at .5 and below.

    Of a metric where lower is better it is the other way round: 0 at .01 and below.
    """
    if value is None:
        return 0
    metric = find(key)
    good = 1 - value if metric is not None and metric.direction == "lower" else value
    return round(60 * min(1.0, max(0.0, (0.99 - good) / 0.49)))
