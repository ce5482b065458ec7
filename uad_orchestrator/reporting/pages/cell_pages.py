"""The page of a cell: figures, sliders, and every test image with its score, decision, map and ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from uad_orchestrator.metrics.report.figures import finite_or_none
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.html_report import SOFTWARE, cell_figures
from uad_orchestrator.reporting.pages.addresses import ALL_DETECTORS, CellAddress, link, way_up
from uad_orchestrator.reporting.pages.category_images import checks_of
from uad_orchestrator.reporting.pages.contents import CellContents, ShownCategory, ShownCell
from uad_orchestrator.reporting.pages.pictures import MAP_SIDE, PICTURES_VERSION, map_png
from uad_orchestrator.reporting.pages.report_folder import ReportFolder
from uad_orchestrator.reporting.pictures.thumbnail import VIEW_SIDE
from uad_orchestrator.reporting.threshold_sliders import RateTables, slider_data
from uad_orchestrator.storage.digests import digest_of
from uad_orchestrator.threads import ordered_map

if TYPE_CHECKING:
    from jinja2 import Environment

    from uad_orchestrator.metrics.thresholds.costs import Costs


@dataclass(frozen=True)
class Edition:
    """What all pages of one run share.

    Attributes:
        folder: the report.
        environment: the templates.
        title: of the report.
        made_at: when it is made, as pages say it.
        costs: what the sliders begin with.
        threads: how many pictures are drawn at a time.
        tied: (category key, detector) of the cells that cannot be told apart from the best.
        rates: the intervals that sliders show, found once for all pages.
    """

    folder: ReportFolder
    environment: Environment
    title: str
    made_at: str
    costs: Costs | None
    threads: int
    tied: AbstractSet[tuple[str, str]]
    rates: RateTables = field(default_factory=RateTables)

    def render(self, template: str, page: PurePosixPath, **values: Any) -> str:
        """A page's HTML, without its doctype."""
        shared = {"title": self.title, "made_at": self.made_at, "software": SOFTWARE, "costs": self.costs}
        return self.environment.get_template(template).render(**shared, up=way_up(page), **values)


def write_cell(
    edition: Edition, category: ShownCategory, cell: ShownCell, warnings: Sequence[CellWarning]
) -> bool:
    """Bring the page of a cell, its data and its pictures up to date.

    Args:
        edition: what all pages share.
        category: the cell's.
        cell: the cell.
        warnings: what is said of it and of its category.

    Returns:
        False where its artifacts turned out to be damaged: it has no page.
    """
    folder, address = edition.folder, CellAddress(category.key, cell.detector)
    maps = address.pictures / f"maps-{digest_of([PICTURES_VERSION, cell.maps_version])[:16]}"
    key = digest_of(
        {
            "look": folder.look_digest,
            "title": edition.title,
            "version": cell.version,
            "maps": str(maps),
            "detectors": [other.detector for other in category.cells],
            "warnings": [warning.model_dump(mode="json") for warning in warnings],
            "costs": None if edition.costs is None else edition.costs.model_dump(mode="json"),
        }
    )
    beside = address.pictures / key[:16]
    if not (folder.is_current(address.data, key) and folder.is_current(address.page, key)):
        contents = cell.read()
        if contents is None:
            return False
        _draw_maps(edition, category, contents, maps)
        _write_pictures(folder, contents, beside)
        data = _data(category, cell, contents, warnings, maps)
        folder.write_script(address.data, key, f"reportCell({json.dumps(data)});")
        html = _page(edition, category, address, contents, warnings, beside)
        folder.write_page(address.page, key, html)
    folder.keep(address.page, address.data, maps, beside)
    return True


def _draw_maps(
    edition: Edition, category: ShownCategory, contents: CellContents, maps: PurePosixPath
) -> None:
    """A picture per map, called by the image's place in the list; those that are there stay."""
    folder, read, scale = edition.folder, contents.anomaly_map, contents.scale
    if read is None or scale is None:
        return

    def draw(numbered: tuple[int, str]) -> None:
        number, image = numbered
        folder.write_picture(maps / f"{number}.png", map_png(read(image), scale))

    missing = [
        (number, record.path)
        for number, record in enumerate(category.images)
        if record.path in contents.mapped and not folder.holds(maps / f"{number}.png")
    ]
    for _ in ordered_map(draw, missing, threads=edition.threads, ahead=2 * edition.threads):
        pass


def _write_pictures(folder: ReportFolder, contents: CellContents, beside: PurePosixPath) -> None:
    """The contact sheet, and the images that warnings are about."""
    if contents.section.contact_sheet:
        folder.write_picture(beside / "sheet.jpg", contents.section.contact_sheet)
    for number, pictures in enumerate(contents.pictures.values()):
        for position, picture in enumerate(pictures):
            folder.write_picture(beside / f"warning-{number}-{position}.jpg", picture.jpeg)


def _data(
    category: ShownCategory,
    cell: ShownCell,
    contents: CellContents,
    warnings: Sequence[CellWarning],
    maps: PurePosixPath,
) -> dict[str, Any]:
    """What the list and the sliders know of the cell: a value per image of the category, in its order."""
    section, report = contents.section, contents.section.report
    scores = {row.image: row.score for row in section.scores if row.role != "calibration"}
    maxima = section.map_maxima
    of_cell = [warning for warning in warnings if warning.detector is not None]
    images = [record.path for record in category.images]
    return {
        "detector": cell.detector,
        "threshold": report.image_operating_point.threshold,
        "review": None if report.review is None else report.review.threshold,
        "undecided": report.review is not None and report.review.threshold is None,
        "pixelThreshold": report.pixel_operating_point.threshold,
        "scores": [finite_or_none(scores.get(image)) for image in images],
        "maxima": [finite_or_none(maxima.get(image)) for image in images] if maxima else None,
        "maps": f"{maps}/" if contents.mapped else None,
        "unmapped": [number for number, image in enumerate(images) if image not in contents.mapped],
        "checks": {
            number: found for number, image in enumerate(images) if (found := checks_of(image, of_cell))
        },
    }


def _page(
    edition: Edition,
    category: ShownCategory,
    address: CellAddress,
    contents: CellContents,
    warnings: Sequence[CellWarning],
    beside: PurePosixPath,
) -> str:
    section, up = contents.section, way_up(address.page)
    sliders = slider_data(section.report, section.scores, section.map_maxima, edition.rates)
    detectors = [other.detector for other in category.cells]
    labels = [row.label for row in section.scores if row.role == "test"]
    shown = {
        warning: [
            (picture.caption, link(beside / f"warning-{number}-{position}.jpg", up))
            for position, picture in enumerate(pictures)
        ]
        for number, (warning, pictures) in enumerate(contents.pictures.items())
    }
    return edition.render(
        "pages/cell_page.html.j2",
        address.page,
        address=address,
        cell={
            "section": section,
            "figures": cell_figures(section, "cell"),
            "sheet": link(beside / "sheet.jpg", up) if section.contact_sheet else None,
            "sliders": None,
        },
        sliders=sliders,
        rates={n: edition.rates.of[n] for n in {labels.count(0), labels.count(1)} if n},
        images=len(category.images),
        detectors={other: link(CellAddress(category.key, other).page, up) for other in detectors},
        scripts=[link(CellAddress(category.key, name).data, up) for name in (ALL_DETECTORS, *detectors)],
        warnings=warnings,
        pictures=shown,
        view_side=VIEW_SIDE,
        map_side=MAP_SIDE,
    )
