"""Prompts through the graph: class names per category, texts embedded once, images embedded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.embedders.open_clip_models import TINY_SETTINGS, register_tiny
from tests.orchestration.workshop import Workshop, computed
from uad_orchestrator.detectors.protocol.scoring import read_scores
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.inference import load_bundle, save_bundle
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.services.cell_bundle import cell_bundle
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

DETECTORS = {
    "knn": {"model": "vision_openclip_patchknn"},
    "score": {"model": "vision_openclip_promptscore"},
    "prompt": {"model": "vision_openclip_prompt_patch", "references": {"k": 2}, "windows": [2, "image"]},
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    register_tiny(tmp_path_factory.mktemp("open_clip"))
    workshop = Workshop.build(tmp_path_factory.mktemp("prompts"), {"line": ["disc", "metal_nut"]}, train=4)
    embedder = {**TINY_SETTINGS, "vv_blocks": 1}
    entries = {name: {**entry, "embedder": embedder} for name, entry in DETECTORS.items()}
    workshop.edit(lambda values: values.update(detectors=entries))
    return workshop


def directory(workshop: Workshop, asset: str, category: str, detector: str) -> Path:
    state, cell = open_state(workshop.project), Cell(f"line/{category}", detector)
    return open_store(workshop.project).open_dir(cell.artifact_key(asset, state.version(asset, cell)))


def scores(workshop: Workshop, category: str, detector: str) -> np.ndarray:
    return np.array(
        [row.score for row in read_scores(directory(workshop, "score_table", category, detector))]
    )


def embedded_texts(workshop: Workshop) -> int:
    """Sets of prompts in the cache."""
    return len(list((workshop.home / ".uad/embeddings").glob("*/texts/*/*.npz")))


def test_prompts_class_names_and_texts_through_the_graph(workshop: Workshop) -> None:
    first = workshop.refresh(Selection(categories=("line/disc",)))
    other = workshop.refresh(Selection(categories=("line/metal_nut",), detectors=("score",)))
    assert not first.failed and not other.failed
    assert first.embedded_images == other.embedded_images == 8, "shared by the category's detectors"
    assert embedded_texts(workshop) == 4, "normal and anomalous x 2 categories, shared by two detectors"
    facts = DetectorState.load(directory(workshop, "memory_bank", "metal_nut", "score")).facts
    assert (facts["class_name"], facts["images"]) == ("metal nut", [])
    before = scores(workshop, "disc", "score")

    def name_the_disc(values: dict[str, Any]) -> None:
        values["detectors"]["score"]["class_names"] = {"disc": "grey coin"}

    workshop.edit(name_the_disc)
    stale = [
        node for node in workshop.plan().stale if (node.asset, node.detector) == ("memory_bank", "score")
    ]
    assert {reason for node in stale for reason in node.reasons} == {
        "fit settings changed: disc absent -> grey coin"
    }
    result = workshop.refresh(Selection(categories=("disc",), detectors=("score",)))
    assert computed(result) == {(asset, "line/disc", "score") for asset in STAGES}
    assert result.embedded_images == 0
    assert embedded_texts(workshop) == 6
    assert not np.allclose(scores(workshop, "disc", "score"), before, rtol=1e-3)

    project = workshop.project
    run = CellRun(Cell("line/disc", "score"), open_state(project), open_store(project))
    save_bundle(cell_bundle(run), workshop.home / "bundle")
    bundle = load_bundle(workshop.home / "bundle")
    assert bundle.settings.fit.class_name == "grey coin"
    rows = read_scores(directory(workshop, "score_table", "disc", "score"))
    images = [workshop.home / "data/line" / row.image for row in rows]
    np.testing.assert_allclose(
        bundle.detector().decision_function(images), [row.score for row in rows], rtol=1e-5
    )
