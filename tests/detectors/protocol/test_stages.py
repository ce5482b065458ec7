"""What a fitted state writes, it reads again; and it reads nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.detectors.protocol.stages import DetectorState


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    (tmp_path / "secret.pt").write_bytes(b"somebody else's")
    (tmp_path / "trained.pt").write_bytes(b"trained")
    folder = tmp_path / "state"
    folder.mkdir()
    bank = np.arange(6, dtype=np.float32).reshape(3, 2)
    facts = {"files": {"model.pt": "a digest"}, "images": []}
    DetectorState({"bank": bank}, facts, {"model.pt": tmp_path / "trained.pt"}).save(folder)
    return folder


def test_a_state_comes_back_as_it_was_saved(saved: Path) -> None:
    loaded = DetectorState.load(saved)
    np.testing.assert_array_equal(loaded.arrays["bank"], [[0, 1], [2, 3], [4, 5]])
    assert loaded.facts == {"files": {"model.pt": "a digest"}, "images": []}
    assert loaded.files["model.pt"].read_bytes() == b"trained"


@pytest.mark.parametrize(
    "name", ["../secret.pt", "{parent}/secret.pt", "..", "sub/../../secret.pt", "gone.pt"]
)
def test_a_state_names_no_file_outside_its_folder(saved: Path, name: str) -> None:
    facts = {"files": {name.format(parent=saved.parent): "a digest"}}
    (saved / "state.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"state\.json names the file .*does not lie beside it"):
        DetectorState.load(saved)
