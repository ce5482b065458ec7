"""How fitted normals are left out of a coreset: a setting of the score table, that embeds nothing."""

from __future__ import annotations

import json
from pathlib import Path

from tests.orchestration.workshop import Workshop, project_file, write_category
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.orchestration.cells.artifact_files import METRICS_FILE
from uad_orchestrator.orchestration.versions.stores import open_state, open_store


def folder_of(home: Workshop, asset: str) -> Path:
    """The artifact of the only cell, in the version it should have."""
    state, store = open_state(home.project), open_store(home.project)
    (cell,) = state.cells
    return store.open_dir(cell.artifact_key(asset, state.version(asset, cell)))


def points(home: Workshop) -> list[dict]:
    report = json.loads((folder_of(home, "metrics_report") / METRICS_FILE).read_text())
    return [report["image_operating_point"], report["pixel_operating_point"]]


def calibration_scores(home: Workshop) -> list[float]:
    rows = read_scores(folder_of(home, "score_table"))
    return [row.score for row in rows if row.role == "calibration"]


def test_the_source_says_it_and_changing_it_recomputes_scores_without_embedding(tmp_path: Path) -> None:
    write_category(tmp_path / "data/alpha/disc", 0, train=8)
    home = Workshop(tmp_path)
    values = project_file({"alpha": ["disc"]})
    values["detectors"] = {"patchcore": values["detectors"]["patchcore"] | {"coreset": {"ratio": 0.02}}}
    home.write(values)
    assert not home.refresh().failed
    refilled, (image, pixel) = calibration_scores(home), points(home)
    assert image["source"].startswith("leave_one_image_out, refilled")
    assert pixel["source"].startswith("leave_one_image_out, refilled")

    home.edit(lambda values: values["detectors"]["patchcore"].update(calibration={"method": "leave_out"}))
    stale = {node.asset for node in home.plan().stale}
    assert stale == {"score_table", "anomaly_maps", "metrics_report", "leaderboard"}
    result = home.refresh()
    assert not result.failed and result.to_json()["embedded_images"] == 0
    plain, points_now = calibration_scores(home), points(home)
    assert all("refilled" not in point["source"] for point in points_now)
    assert sum(refilled) < sum(plain)
    assert points_now[1]["threshold"] > pixel["threshold"]
