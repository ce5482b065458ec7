"""The HTML report: one file that holds everything, for phone and desk, without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator import __version__
from uad_orchestrator.inference.records.health import LineHealth
from uad_orchestrator.metrics.catalogue import Metric
from uad_orchestrator.metrics.curves import Curve
from uad_orchestrator.metrics.image_metrics import image_curves
from uad_orchestrator.metrics.pixels.counts import AREAS, Overlap
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.board.leaderboard import Leaderboard
from uad_orchestrator.reporting.cases import ScoredImage
from uad_orchestrator.reporting.line.health_figure import line_figures
from uad_orchestrator.reporting.page_templates import cell_anchor, page_environment
from uad_orchestrator.reporting.pictures.contact_sheet import data_uri
from uad_orchestrator.reporting.pictures.figures import pr_figure, pro_figure, roc_figure, score_histogram
from uad_orchestrator.reporting.threshold_sliders import RateTables, slider_data
from uad_orchestrator.storage.atomic import new_file
from uad_orchestrator.storage.provenance import Provenance

if TYPE_CHECKING:
    from uad_orchestrator.metrics.thresholds.costs import Costs

TITLE = "Anomaly detection benchmark"
SOFTWARE = f"uad_orchestrator {__version__}"


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
        line: the last days of the cell on the line, in order.
    """

    report: MetricsReport
    scores: Sequence[ScoredImage]
    pixel_curves: Mapping[str, Curve] = field(default_factory=dict)
    contact_sheet: bytes | None = None
    provenance: Sequence[Provenance] = ()
    map_maxima: Mapping[str, float] = field(default_factory=dict)
    line: Sequence[LineHealth] = ()


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
    title: str = TITLE,
    made_at: datetime | None = None,
    costs: Costs | None = None,
) -> None:
    """Write the report as one self-contained HTML file.

    Nothing in it is loaded from elsewhere: pictures, styles and the few lines of script are inside, and a
    content policy in its head forbids the browser everything else. One cell is held at a time, so memory does not
    grow with them. The file is written aside and renamed.

    Args:
        path: the file; its folder is made.
        board: the leaderboard.
        cells: a section per cell that has a report, in the order they shall appear.
        pictures: of the board's warnings, the images they are about.
        title: the page's title.
        made_at: when it was made; now, if not given. The same arguments give the same bytes.
        costs: of wrong decisions, where the sliders over the thresholds begin with them.
    """
    tables = RateTables()
    page = page_environment(board).get_template("report.html.j2")
    chunks = page.generate(
        title=title,
        made_at=written_time(made_at),
        software=SOFTWARE,
        board=board,
        pictures={
            warning: [(picture.caption, data_uri(picture.jpeg)) for picture in shown]
            for warning, shown in (pictures or {}).items()
        },
        cells=(_drawn(section, tables) for section in cells),
        rates=tables,  # complete once the cells above it on the page are drawn
        costs=costs,
    )
    with new_file(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.writelines(chunks)


def written_time(moment: datetime | None) -> str:
    """When a page was made, as it says so; now, if not given."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True)
class _DrawnCell:
    """A section with its figures as SVG, its sheet as a data address, and what its sliders know."""

    section: CellSection
    anchor: str
    figures: Sequence[tuple[str, str]]
    sheet: str | None
    sliders: Mapping[str, Any] | None


def _drawn(section: CellSection, tables: RateTables) -> _DrawnCell:
    report = section.report
    anchor = cell_anchor(f"{report.dataset}/{report.category}", report.detector)
    sheet = data_uri(section.contact_sheet) if section.contact_sheet else None
    sliders = slider_data(report, section.scores, section.map_maxima, tables)
    return _DrawnCell(section, anchor, cell_figures(section, anchor), sheet, sliders)


def cell_figures(section: CellSection, anchor: str) -> list[tuple[str, str]]:
    """The curves and the histogram of a cell as SVG, each with its title; what is undefined is left out."""
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
    return figures + (line_figures(section.line, anchor) if section.line else [])


def _limits(report: MetricsReport, family: Metric) -> dict[float, float | None]:
    """The metrics of a family by their limit."""
    prefix = f"{family.name}_"
    return {
        float(name.removeprefix(prefix)): value
        for name, value in report.metrics.items()
        if name.startswith(prefix)
    }
