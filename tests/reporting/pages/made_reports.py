"""Small reports as folders: made-up scores, images and maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.reporting.cells import report, review, score_rows
from uad_orchestrator.datasets.manifest import ImageRecord, MaskFile
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, build_leaderboard
from uad_orchestrator.reporting.html_report import CellSection
from uad_orchestrator.reporting.pages.contents import CellContents, ShownCategory, ShownCell
from uad_orchestrator.reporting.pages.write import write_report_folder
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SIZE = (24, 32)
SCALE = HeatmapScale.from_normals(1.0, 0.1, 2.0)
ODD = (
    "bottle/test/print/50 % #1 'a' \"b\"&<i>?.png",
    "bottle/test/print/größe 日本.png",
    "x/" + "n" * 180 + ".png",
)


class Reader:
    """Reads what pages show, and counts it."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.images: list[str] = []
        self.maps: list[str] = []


def rows(seed: int, odd: Sequence[str] = ()) -> list[SimpleNamespace]:
    """A score table whose last test images have these names."""
    found = score_rows(seed, strength=1.5)
    for row, name in zip(reversed(found), odd, strict=False):
        row.image = name
    return found


def records(of: Sequence[SimpleNamespace]) -> list[ImageRecord]:
    """The test images of a score table; defects have a mask."""
    return [
        ImageRecord(
            row.image,
            "test",
            row.label,
            row.defect_type,
            f"{number:064x}",
            (MaskFile(f"{row.image}.mask", f"{number:063x}a"),) if row.label else (),
        )
        for number, row in enumerate(row for row in of if row.role == "test")
    ]


def category(
    reader: Reader,
    detectors: Sequence[str] = ("dino", "patchcore"),
    *,
    name: str = "bottle",
    odd: Sequence[str] = (),
    version: Callable[[str], str] = lambda detector: "1",
    table: Callable[[int], list[SimpleNamespace]] | None = None,
) -> ShownCategory:
    """A category of 27 test images."""
    tables = {
        detector: (table or (lambda seed: rows(seed, odd)))(seed) for seed, detector in enumerate(detectors)
    }
    images = records(next(iter(tables.values())))

    def image(path: str) -> np.ndarray:
        reader.images.append(path)
        return np.full((*SIZE, 3), 90, np.uint8)

    def mask(path: str) -> np.ndarray:
        found = np.zeros(SIZE, bool)
        found[4:12, 6:16] = True
        return found

    def cell(detector: str, seed: int) -> ShownCell:
        def read() -> CellContents:
            reader.cells.append(detector)
            tested = [row for row in tables[detector] if row.role == "test"]
            made = report(name, detector, seed=seed, strength=1.5).model_copy(update={"review": review()})
            section = CellSection(
                made, tables[detector], map_maxima={row.image: 2 * row.score for row in tested}
            )
            return CellContents(section, anomaly_map, frozenset(row.image for row in tested), SCALE)

        def anomaly_map(path: str) -> np.ndarray:
            reader.maps.append(path)
            return np.linspace(1, 3, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)

        return ShownCell(detector, version(detector), version(detector), read)

    cells = [cell(detector, seed) for seed, detector in enumerate(detectors)]
    return ShownCategory(f"mvtec_ad/{name}", images, "reading", image, mask, cells)


def board(
    names: Sequence[tuple[str, str]] = (("bottle", "dino"), ("bottle", "patchcore")),
    warnings: Sequence[CellWarning] = (),
) -> Leaderboard:
    """The board of these cells."""
    cells = {
        (f"mvtec_ad/{name}", detector): report(name, detector, seed=seed % 7, strength=1.5)
        for seed, (name, detector) in enumerate(names)
    }
    return build_leaderboard(cells, warnings=warnings)


def write(path: Path, *categories: ShownCategory, of: Leaderboard | None = None) -> Path:
    """The report as a folder."""
    return write_report_folder(path, of or board(), categories, made_at=NOON)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file of a folder with its inode and size: another inode is another file."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }
