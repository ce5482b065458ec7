"""Regions of interest and augmentation in the project file: where their files lie, and who can use them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from uad_orchestrator.project import Project, ProjectError
from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.errors import SettingProblem, dotted
from uad_orchestrator.project.parsing.reading import project_from_text

PART = "datasets: {demo: {}}\npresets: {part: [denoise, {roi: {method: mask, path: fixtures/roi.png}}]}\n"


def load(home: Path, text: str, *, allow_missing_files: bool = False) -> Project:
    return project_from_text(text, home, installed_catalogue(), allow_missing_files)


def problems(home: Path, text: str) -> list[SettingProblem]:
    with pytest.raises(ProjectError) as raised:
        load(home, text)
    return list(raised.value.problems)


def test_a_mask_images_path_is_relative_to_the_project_file(tmp_path: Path) -> None:
    (tmp_path / "fixtures").mkdir()
    cv2.imwrite(str(tmp_path / "fixtures/roi.png"), np.full((4, 4), 255, np.uint8))
    project = load(tmp_path, PART + "detectors: {p: {model: vision_patchcore, preset: part}}")
    assert project.presets["part"].steps[1].path == tmp_path.resolve() / "fixtures/roi.png"


def test_a_missing_mask_image_is_named_with_its_place(tmp_path: Path) -> None:
    text = PART + "detectors: {p: {model: vision_patchcore, preset: part}}"
    (problem,) = problems(tmp_path, text)
    assert dotted(problem.place) == "presets.part[1].roi.path"
    assert "fixtures/roi.png" in problem.what
    noted = load(tmp_path, text, allow_missing_files=True).missing_files
    assert list(noted) == ["presets.part[1].roi.path"]


@pytest.mark.parametrize(
    ("augment", "place", "said"),
    [
        ("{}", "detectors.p.augment", "nothing is augmented"),
        ("{brigthness: 0.1}", "detectors.p.augment.brigthness", "brightness"),
        ("{brightness: 3}", "detectors.p.augment.brightness", "1"),
        ("{rotation: 2}", "detectors.p", "discriminator lof compares each patch with those at its own place"),
    ],
)
def test_what_is_wrong_with_augmentation_is_said(tmp_path: Path, augment: str, place: str, said: str) -> None:
    text = f"datasets: {{demo: {{}}}}\ndetectors: {{p: {{model: vision_softpatch, augment: {augment}}}}}"
    (problem,) = problems(tmp_path, text)
    assert dotted(problem.place) == place
    assert said in str(problem)
