"""``uad export bundle --fpr``: a rate that the normals cannot support is refused here, not on the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop
from uad_orchestrator.inference import load_bundle


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shop = Workshop.build(tmp_path_factory.mktemp("export"), {"alpha": ["disc"]}, train=12)
    said = uad("refresh", "--home", shop.home, "--detector", "patchcore")
    assert said.exit_code == 0, said.stderr
    return shop.home


def export(home: Path, output: Path, *options: str) -> tuple[int, str]:
    said = uad("export", "bundle", "--output", output, "--home", home, "--detector", "patchcore", *options)
    return said.exit_code, said.stderr


def test_a_rate_that_the_normals_cannot_support_is_refused(home: Path, tmp_path: Path) -> None:
    status, said = export(home, tmp_path / "bundle", "--fpr", "0.001")
    assert status == 1 and not (tmp_path / "bundle").exists()
    assert "12 normals cannot support a false-positive rate of 0.1 %: 999 or more are needed" in said
    assert "higher rate" in said


def test_one_that_they_can_support_is_exported(home: Path, tmp_path: Path) -> None:
    assert export(home, tmp_path / "bundle", "--fpr", "0.2") == (0, "")
    calibration = load_bundle(tmp_path / "bundle").calibration
    assert (calibration.image_point.contamination, calibration.image_point.reason) == (0.2, "")
