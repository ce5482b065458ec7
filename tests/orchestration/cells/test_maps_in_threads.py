"""Maps made, measured and written in threads: the files of one thread, errors at their image, few maps at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.workshop import EMBEDDER, Workshop
from uad_orchestrator.detectors.protocol import maps as map_recipes
from uad_orchestrator.orchestration.cells import cell_report, cell_stages
from uad_orchestrator.orchestration.cells.artifact_files import CONTACT_SHEET, MAPS
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.embedder_pool import EmbedderPool
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.postprocess.map_set import MapSet

CELL = Cell("alpha/disc", "finished")
FINISHED: dict[str, Any] = {
    "model": "vision_patchcore",
    "embedder": EMBEDDER,
    "maps": {"normalisation": "normal_maps", "morphology": {"operation": "opening"}, "min_area": 12},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> CellRun:
    workshop = Workshop.build(tmp_path_factory.mktemp("finished"), {"alpha": ["disc"]}, train=4)
    workshop.edit(lambda values: values.update(detectors={"finished": FINISHED}))
    assert not workshop.refresh().failed
    return CellRun(CELL, open_state(workshop.project), open_store(workshop.project))


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    for module in (cell_stages, map_recipes, cell_report):
        monkeypatch.setattr(module, "available_threads", lambda: request.param)
    return request.param


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("threads", [1, 2, 5], indirect=True)
def test_the_number_of_threads_changes_no_byte(run: CellRun, threads: int, tmp_path: Path) -> None:
    result = cell_stages.make_anomaly_maps(run, EmbedderPool(), tmp_path)
    stored = files(run.directory("anomaly_maps"))
    made = files(tmp_path)
    assert result.facts["maps"] == sum(name.startswith(MAPS) for name in made) > 2
    assert made == {name: stored[name] for name in made}


@pytest.mark.parametrize("threads", [1, 5], indirect=True)
def test_the_sheet_of_cases_read_in_threads_is_the_same(run: CellRun, threads: int, tmp_path: Path) -> None:
    cell_stages.report_metrics(run, EmbedderPool(), tmp_path)
    stored = run.directory("metrics_report") / CONTACT_SHEET
    assert (tmp_path / CONTACT_SHEET).read_bytes() == stored.read_bytes()


@pytest.mark.parametrize("threads", [1, 5], indirect=True)
def test_the_first_map_that_cannot_be_written_is_named(
    run: CellRun, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = [row for row in cell_stages.read_scores(run.directory("score_table")) if row.role == "test"]
    broken = {scored[2].image, scored[3].image}
    write = MapSet.write

    def failing(self: MapSet, image: str, folder: str, anomaly_map: Any) -> Path:
        if image in broken:
            raise ValueError(f"{image}: disk full")
        return write(self, image, folder, anomaly_map)

    monkeypatch.setattr(MapSet, "write", failing)
    with pytest.raises(ValueError, match=f"^{scored[2].image}: disk full"):
        cell_stages.make_anomaly_maps(run, EmbedderPool(), tmp_path)


@pytest.mark.parametrize("threads", [1, 2, 5], indirect=True)
def test_few_responses_are_read_ahead(
    run: CellRun, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many times the same responses, under other names: what is read and not written yet stays bounded."""
    [*once] = cell_stages.read_responses(run.directory("score_table"))
    written: list[str] = []
    ahead: list[int] = []

    def many(directory: Path, role: str | None = None) -> Iterator[Any]:
        if role is not None:
            yield from (pair for pair in once if pair[0].role == role)
            return
        for index in range(40):
            ahead.append(index - len(written))
            yield next(pair for pair in once if pair[0].role == "test")

    def write(self: MapSet, image: str, folder: str, anomaly_map: Any) -> Path:
        written.append(image)
        return self.root

    monkeypatch.setattr(cell_stages, "read_responses", many)
    monkeypatch.setattr(MapSet, "write", write)
    assert cell_stages.make_anomaly_maps(run, EmbedderPool(), tmp_path).facts["maps"] == 40
    assert len(written) == 40
    assert max(ahead) <= 3 * threads + 1
