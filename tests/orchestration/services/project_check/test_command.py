"""``uad check`` on settings that only fail, or do nothing, once cells are computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.services.project_check.check import check_project


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights"))
    return Workshop.build(tmp_path, {"line": ["disc"]}, train=2)


def problems(workshop: Workshop, **entry: object) -> dict[str, str]:
    workshop.edit(lambda values: values.update(detectors={"p": entry}))
    return {problem.where: problem.problem for problem in check_project(workshop.project).problems}


def test_a_class_name_for_a_category_that_is_not_there(workshop: Workshop) -> None:
    entry = {
        "model": "vision_openclip_promptscore",
        "embedder": {"name": "open_clip/ViT-S-32", "weights": "random:0"},
    }
    assert problems(workshop, **entry, class_names={"disc": "coin"}) == {}
    found = problems(workshop, **entry, class_names={"disk": "coin"})
    assert found == {
        "detectors.p.class_names": "there is no category 'disk'; did you mean 'disc'? (valid: disc)"
    }


def test_hub_weights_that_are_not_in_the_cache(workshop: Workshop) -> None:
    found = problems(workshop, model="vision_patchcore", embedder="resnet18")
    assert "no weights on this machine" in found["detectors.p.embedder"]
