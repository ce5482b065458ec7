"""A home that an earlier state of the project computed keeps its memory banks, and its figures stay what they were.

Since then thresholds are taken without normals that score far above all others, and normals left out of a coreset are
scored as if it had been built without them: score tables, and what reads them, are filled anew once, from the same
banks.

``home_0.1.0.tar.xz`` is such a home: one category of 32 x 40 images, three detectors, artifacts and Dagster's event
log. What can be lost and rebuilt was left out of it: the embedding cache, the lineage index, the log of each run.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.orchestration.workshop import Workshop
from uad_orchestrator.detectors.protocol.scoring import read_responses
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

ARCHIVE = Path(__file__).with_name("home_0.1.0.tar.xz")
CELLS = 3


@pytest.fixture
def earlier(tmp_path: Path) -> Workshop:
    """The home, unpacked."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Workshop(tmp_path)


def stored(home: Workshop, asset: str) -> dict[str, Path]:
    """Per detector the folder of the asset's artifact in the version it should have now."""
    project = home.project
    state, store = open_state(project), open_store(project)
    return {
        cell.detector: store.open_dir(cell.artifact_key(asset, state.version(asset, cell)))
        for cell in state.cells
    }


def kept(home: Workshop, asset: str) -> dict[str, Path]:
    """Per detector the folder of the asset's only artifact in the archive."""
    found = {folder.parent.name: folder for folder in home.home.glob(f".uad/artifacts/{asset}/*/*/*/*")}
    assert len(found) == CELLS
    return found


def test_its_memory_banks_are_fresh_and_what_reads_them_says_why_it_is_not(earlier: Workshop) -> None:
    plan = earlier.plan()
    why = {(node.asset, node.detector): node.reasons for node in plan.stale if node.detector}
    detectors = sorted(cell.detector for cell in plan.by_cell())
    for detector in detectors:
        (reason,) = why.pop(("score_table", detector))
        assert reason.startswith("code version of score_table ")
        assert why.pop(("anomaly_maps", detector)) == ("score_table changed",)
        code, *changed = why.pop(("metrics_report", detector))
        assert code.startswith("code version of metrics_report ")
        assert changed == ["score_table changed", "anomaly_maps changed"]
    assert why == {}, "checkpoints and memory banks are fresh"
    assert (plan.rerecorded, plan.fresh) == ((), 2 * CELLS)


def test_a_refresh_fits_nothing_and_a_second_one_leaves_it_as_it_is(earlier: Workshop) -> None:
    first = earlier.refresh()
    assert {node.asset for node in first.materialized} == {
        "score_table", "anomaly_maps", "metrics_report", "leaderboard"
    }  # fmt: skip
    second = earlier.refresh().to_json()
    assert second["materialized"] == second["restamped"] == second["failed"] == []
    assert second["embedded_images"] == 0
    again = {
        detector: json.loads((folder / METRICS_FILE).read_text())["image_operating_point"]
        for detector, folder in stored(earlier, "metrics_report").items()
    }
    refilled = {detector for detector, point in again.items() if "refilled" in point["source"]}
    assert refilled and refilled < again.keys(), "those whose bank is a coreset, and no others"


def test_what_is_computed_again_has_the_figures_of_then(earlier: Workshop) -> None:
    before = {
        detector: json.loads((folder / METRICS_FILE).read_text())
        for detector, folder in kept(earlier, "metrics_report").items()
    }
    scores = {
        detector: [(row.image, row.role, row.score, response.patch_grid) for row, response in rows]
        for detector, folder in kept(earlier, "score_table").items()
        if (rows := list(read_responses(folder)))
    }
    banks = {detector: folder.name for detector, folder in kept(earlier, "memory_bank").items()}
    shutil.rmtree(earlier.home / ".uad" / "artifacts")
    as_then = {"calibration": {"method": "leave_out"}}
    earlier.edit(lambda values: [entry.update(as_then) for entry in values["detectors"].values()])

    result = earlier.refresh()

    assert not result.failed
    assert len(result.materialized) == 4 * CELLS + 1  # inputs are no artifacts of the cells
    assert {detector: folder.name for detector, folder in stored(earlier, "memory_bank").items()} == banks
    for detector, folder in stored(earlier, "metrics_report").items():
        after = json.loads((folder / METRICS_FILE).read_text())
        changed = {
            name
            for name, version in before[detector]["versions"].items()
            if after["versions"][name] != version
        }
        assert changed == {"scoring_settings", "score_table", "anomaly_maps", "metrics_report"}
        assert after["metrics"] == pytest.approx(before[detector]["metrics"], abs=1e-6, nan_ok=True)
        assert after["image_operating_point"]["threshold"] == pytest.approx(
            before[detector]["image_operating_point"]["threshold"], rel=1e-5
        )
    for detector, folder in stored(earlier, "score_table").items():
        rows = list(read_responses(folder))
        assert [(row.image, row.role) for row, _ in rows] == [(r[0], r[1]) for r in scores[detector]]
        for (row, response), (_, _, score, grid) in zip(rows, scores[detector], strict=True):
            assert row.score == pytest.approx(score, rel=1e-5)
            np.testing.assert_allclose(response.patch_grid, grid, rtol=1e-4, atol=1e-6)
