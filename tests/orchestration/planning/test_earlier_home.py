"""A home that an earlier state of the project computed stays fresh, and its figures stay what they were.

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


def test_nothing_of_it_is_stale(earlier: Workshop) -> None:
    plan = earlier.plan()
    assert (plan.stale, plan.rerecorded, plan.fresh) == ((), (), 5 * CELLS + 1)


def test_a_refresh_leaves_it_as_it_is(earlier: Workshop) -> None:
    result = earlier.refresh().to_json()
    assert result["materialized"] == result["restamped"] == result["failed"] == []
    assert result["embedded_images"] == 0


def test_what_is_computed_again_has_the_same_addresses_and_figures(earlier: Workshop) -> None:
    before = {
        detector: json.loads((folder / METRICS_FILE).read_text())
        for detector, folder in stored(earlier, "metrics_report").items()
    }
    scores = {
        detector: [(row.image, row.role, row.score, response.patch_grid) for row, response in rows]
        for detector, folder in stored(earlier, "score_table").items()
        if (rows := list(read_responses(folder)))
    }
    shutil.rmtree(earlier.home / ".uad" / "artifacts")

    result = earlier.refresh()

    assert not result.failed
    assert len(result.materialized) == 4 * CELLS + 1  # inputs are no artifacts of the cells
    for detector, folder in stored(earlier, "metrics_report").items():
        after = json.loads((folder / METRICS_FILE).read_text())
        assert after["versions"] == before[detector]["versions"]
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
