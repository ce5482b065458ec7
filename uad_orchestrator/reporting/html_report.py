"""The HTML report: one file that holds everything, for phone and desk, without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator import __version__
from uad_orchestrator.metrics.catalogue import Metric, averaged, find, headlines, metrics_of
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.pixels.counts import AREAS, Overlap
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.board.columns import INTERVAL, TIED_NOTE, Column, column, shown, written
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, best_of
from uad_orchestrator.reporting.board.means import DatasetMeans, averaged_beside
from uad_orchestrator.reporting.board.remarks import remarks
from uad_orchestrator.reporting.board.row import PROMISE, LeaderboardRow
from uad_orchestrator.reporting.cases import ScoredImage
from uad_orchestrator.reporting.pictures.contact_sheet import data_uri
from uad_orchestrator.reporting.threshold_sliders import RateTables, slider_data
from uad_orchestrator.storage.atomic import new_file
from uad_orchestrator.storage.provenance import Provenance
from uad_orchestrator.threads import ordered_map

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from uad_orchestrator.metrics.thresholds.costs import Costs


@dataclass(frozen=True)
class CellSection:
    """What the report shows of one cell, below the tables.

    Attributes:
        report: its metrics report.
        scores: its score table, calibration rows included; curves and histogram are drawn from it.
        pixel_curves: ``roc``, ``pr`` and ``pro`` (``spro``) of its maps (``PixelCounts.curves``); empty without masks.
        contact_sheet: the JPEG of ``contact_sheet``; None leaves it out.
        provenance: the records of its artifacts, in the order they were made: versions and settings.
        map_maxima: the largest value of each test image's map; without them the pixel threshold has no slider.
    """

    report: MetricsReport
    scores: Sequence[ScoredImage]
    pixel_curves: Mapping[str, Curve] = field(default_factory=dict)
    contact_sheet: bytes | None = None
    provenance: Sequence[Provenance] = ()
    map_maxima: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WarningPicture:
    """An image that a warning is about.

    Attributes:
        caption: its name.
        jpeg: the picture.
    """

    caption: str
    jpeg: bytes


def write_report(
    path: Path,
    board: Leaderboard,
    cells: Iterable[CellSection],
    *,
    pictures: Mapping[CellWarning, Sequence[WarningPicture]] | None = None,
    title: str = "Anomaly detection benchmark",
    made_at: datetime | None = None,
    processes: int = 1,
    costs: Costs | None = None,
) -> None:
    """Write the report as one self-contained HTML file.

    Nothing in it is loaded from elsewhere: pictures, styles and the few lines of script are inside, and a
    content policy in its head forbids the browser everything else. Few cells are held at a time, so memory does not
    grow with them. The file is written aside and renamed.

    Args:
        path: the file; its folder is made.
        board: the leaderboard.
        cells: a section per cell that has a report, in the order they shall appear.
        pictures: of the board's warnings, the images they are about.
        title: the page's title.
        made_at: when it was made; now, if not given. The same arguments give the same bytes.
        processes: how many draw the figures; 1: this one alone. More are started anew, as ``multiprocessing``'s
            ``spawn`` does it: a script that asks for them needs ``if __name__ == "__main__"``.
        costs: of wrong decisions, where the sliders over the thresholds begin with them.
    """
    tables = RateTables()
    page = _environment(board).get_template("report.html.j2")
    chunks = page.generate(
        title=title,
        made_at=(made_at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        software=f"uad_orchestrator {__version__}",
        board=board,
        means_best={means.dataset: _best_means(means, board.metrics) for means in board.means},
        mean_fields=averaged_beside(),
        pictures={
            warning: [(picture.caption, data_uri(picture.jpeg)) for picture in shown]
            for warning, shown in (pictures or {}).items()
        },
        cells=_drawn(cells, tables, processes),
        rates=tables,  # complete once the cells above it on the page are drawn
        costs=costs,
    )
    with new_file(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.writelines(chunks)


@dataclass(frozen=True)
class _DrawnCell:
    """A section with its figures as SVG, its sheet as a data address, and what its sliders know."""

    section: CellSection
    anchor: str
    figures: Sequence[tuple[str, str]]
    sheet: str | None
    sliders: Mapping[str, Any] | None


def _drawn(cells: Iterable[CellSection], tables: RateTables, processes: int) -> Iterator[_DrawnCell]:
    """Sections with their figures, in order; matplotlib draws in one thread at a time, hence processes."""

    def drawn(
        section: CellSection, figures: Callable[[CellSection, str], list[tuple[str, str]]]
    ) -> _DrawnCell:
        report = section.report
        anchor = cell_anchor(f"{report.dataset}/{report.category}", report.detector)
        sheet = data_uri(section.contact_sheet) if section.contact_sheet else None
        sliders = slider_data(report, section.scores, section.map_maxima, tables)
        return _DrawnCell(section, anchor, figures(section, anchor), sheet, sliders)

    if processes <= 1:
        yield from (drawn(section, _figures) for section in cells)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        ask = partial(drawn, figures=lambda section, anchor: pool.submit(_figures, section, anchor).result())
        yield from ordered_map(ask, cells, threads=processes, ahead=processes)


def _figures(section: CellSection, anchor: str) -> list[tuple[str, str]]:
    """The curves and the histogram of a cell, each with its title; what is undefined is left out."""
    from uad_orchestrator.metrics.image_metrics import image_curves
    from uad_orchestrator.reporting.pictures.figures import pr_figure, pro_figure, roc_figure, score_histogram

    tested = [row for row in section.scores if row.role == "test"]
    of_images = image_curves([row.score for row in tested], [row.label for row in tested]) if tested else {}
    of_pixels = section.pixel_curves
    point = section.report.image_operating_point
    figures = []
    if section.scores:
        threshold = float("nan") if point.threshold is None else point.threshold
        histogram = score_histogram(section.scores, threshold, name=f"{anchor}-scores")
        figures.append(("Image scores", histogram))
    for kind, title, draw, at in (
        ("roc", "ROC", roc_figure, (point.false_positive_rate, point.recall)),
        ("pr", "Precision–recall", pr_figure, (point.recall, point.precision)),
    ):
        curves = {what: of[kind] for what, of in (("image", of_images), ("pixel", of_pixels)) if kind in of}
        if curves:
            x, y = at
            marked = None if x is None or y is None else (x, y)
            figures.append((title, draw(curves, marked, name=f"{anchor}-{kind}")))
    overlaps: dict[Overlap, str] = {"pro": "Per-region overlap", "spro": "Saturated per-region overlap"}
    for kind, title in overlaps.items():
        if kind in of_pixels:
            limits = _limits(section.report, AREAS[kind])
            drawn = pro_figure(of_pixels[kind], limits, saturated=kind == "spro", name=f"{anchor}-{kind}")
            figures.append((title, drawn))
    return figures


def _limits(report: MetricsReport, family: Metric) -> dict[float, float | None]:
    """The metrics of a family by their limit."""
    prefix = f"{family.name}_"
    return {
        float(name.removeprefix(prefix)): value
        for name, value in report.metrics.items()
        if name.startswith(prefix)
    }


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


def _environment(board: Leaderboard) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("uad_orchestrator.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(
        anchor=cell_anchor,
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
        remarks=remarks(board),
        tied=board.within_noise(),
        tied_note=TIED_NOTE,
    )
    environment.filters.update(
        written=written, figure=shown, yaml=_yaml, inline=Markup, datasets=_by_dataset, loss=_loss
    )
    environment.filters |= {"heading": _heading, "broken": _broken}
    return environment


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

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()


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
