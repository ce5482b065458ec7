"""The examples run as they stand there, and what comes out is plausible; ``docs/plugins.md`` shows them as they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uad_orchestrator.datasets.demo_generator import DemoSizes, generate_demo

ROOT = Path(__file__).parents[1]
OWN_DETECTOR = ROOT / "examples/own_detector"
ANOMALOUS = 3
"""The exit status of `uad infer` that found something."""
PAGE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")


def run(script: str, folder: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("UAD_HOME", "DAGSTER_HOME")}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / script, folder],
        cwd=folder.parent,
        env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def number(name: str, text: str) -> float:
    return float(re.search(rf"{name} ([0-9.]+)", text)[1])


def test_library_alone(tmp_path):
    printed = run("library_alone.py", tmp_path / "demo")
    assert "leave_one_image_out" in printed
    assert number("image AUROC", printed) > 0.8
    assert number("recall", printed) > 0.5
    assert number("pixel_auroc", printed) > 0.8


@pytest.mark.end_to_end
def test_own_dataset_is_computed_once(tmp_path):
    home = tmp_path / "mine"
    first = run("own_dataset.py", home)
    assert "line7/housing" in first and "patchcore" in first
    artifacts = sorted(home.glob(".uad/artifacts/metrics_report/line7/housing/patchcore/*"))
    assert len(artifacts) == 1
    run("own_dataset.py", home)
    assert sorted(home.glob(".uad/artifacts/metrics_report/line7/housing/patchcore/*")) == artifacts


def blocks(language: str) -> list[str]:
    """The code on the page of plug-ins."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_of_plugins_shows_the_example_as_it_is():
    code = "\n".join(path.read_text() for path in OWN_DETECTOR.glob("own_detector/*.py"))
    shown = blocks("python")
    assert len(shown) >= 5 and all(block in code for block in shown)
    (points,) = blocks("toml")
    assert points in (OWN_DETECTOR / "pyproject.toml").read_text()


def uad(home: Path, site: Path | None, *words: str, status: int = 0) -> Any:
    """What a command prints as JSON, or says on standard error; with the packages in ``site`` installed."""
    kept = {k: v for k, v in os.environ.items() if k not in ("UAD_HOME", "DAGSTER_HOME", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-m", "uad_orchestrator.cli", *words],
        cwd=home,
        env={**kept, "PYTHONPATH": os.pathsep.join(map(str, [ROOT] if site is None else [ROOT, site]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr[-3000:]
    return json.loads(done.stdout) if status in (0, ANOMALOUS) and "--json" in words else done.stderr


def installed(folder: Path, version: str) -> Path:
    """The example installed by pip, without a network, in a folder of its own."""
    source = shutil.copytree(OWN_DETECTOR, folder / f"source {version}")
    text = (source / "pyproject.toml").read_text()
    (source / "pyproject.toml").write_text(text.replace('version = "1.0.0"', f'version = "{version}"'))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder / version, source]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})
    return folder / version


def lay_out(root: Path) -> None:
    """Generated images as the page's uad.yaml has them for the example's layout: ok, bad and masks."""
    generate_demo(root / "made", sizes=DemoSizes(20, 4, 3), categories=["connector"])
    made, parts = root / "made/connector", root / "images/connector"
    for name in ("ok", "bad", "masks"):
        (parts / name).mkdir(parents=True)
    for path in made.glob("t*/*/*.png"):
        split, kind = path.parts[-3:-1]
        shutil.copy(path, parts / ("ok" if kind == "good" else "bad") / f"{split}_{kind}_{path.name}")
    for path in made.glob("ground_truth/*/*.png"):
        name = f"test_{path.parent.name}_{path.name.replace('_mask', '')}"
        shutil.copy(path, parts / "masks" / name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A project with the page's uad.yaml, computed with the example at 1.0.0; that, and 1.1.0, installed."""
    folder = tmp_path_factory.mktemp("own detector")
    first, second = (installed(folder, version) for version in ("1.0.0", "1.1.0"))
    (project,) = blocks("yaml")
    (folder / "home").mkdir()
    (folder / "home/uad.yaml").write_text(project)
    lay_out(folder / "home")
    done = uad(folder / "home", first, "refresh", "--json")
    assert done["failed"] == [] and {node["detector"] for node in done["materialized"]} >= {
        "own",
        "patchcore",
    }
    return folder / "home", first, second


@pytest.mark.end_to_end
def test_own_detector_is_as_good_as_a_detector_of_ours(home):
    folder, first, _ = home
    assert uad(folder, first, "plan", "--json")["stale"] == []
    rows = {row["detector"]: row for row in uad(folder, first, "leaderboard", "--json")["rows"]}
    assert all(rows[name]["image_auroc"] > 0.8 for name in ("own", "patchcore"))
    assert all(rows[name]["pixel_auroc"] > 0.8 for name in ("own", "patchcore"))
    assert rows["own"]["threshold_source"] == "leave_one_image_out"
    notes = uad(folder, first, "check", "--json")["notes"]
    assert sum("of own-detector 1.0.0" in note for note in notes) == 3


@pytest.mark.end_to_end
def test_another_version_of_own_detector_is_stale_and_says_so(home):
    folder, _, second = home
    stale = uad(folder, second, "plan", "--json")["stale"]
    banks = {node["detector"]: node["reasons"] for node in stale if node["asset"] == "memory_bank"}
    said = ["fit settings changed: own-detector 1.0.0 -> 1.1.0"]
    assert banks == {"own": said, "patchcore": said}, "both use its embedder"


@pytest.mark.end_to_end
def test_another_value_of_its_layouts_setting_is_stale_and_a_wrong_one_is_said(home):
    folder, first, _ = home
    file, text = folder / "uad.yaml", (folder / "uad.yaml").read_text()
    shutil.copytree(folder / "images/connector/ok", fewer := folder / "images/connector/fewer")
    min(fewer.iterdir()).unlink()
    try:
        file.write_text(text.replace("good_folder: ok", "good_folder: fewer"))
        stale = uad(folder, first, "plan", "--json")["stale"]
        banks = {node["detector"] for node in stale if node["asset"] == "memory_bank"}
        assert banks == {"own", "patchcore"}
        file.write_text(text.replace("good_folder: ok", "good_foldr: ok"))
        said = uad(folder, first, "plan", status=2)
        assert "line 2, datasets.parts.good_foldr: unknown key; did you mean 'good_folder'?" in said
        file.write_text(text.replace("good_folder: ok", "good_folder: ''"))
        assert "datasets.parts.good_folder: is ''" in uad(folder, first, "plan", status=2)
    finally:
        file.write_text(text)


@pytest.mark.end_to_end
def test_without_own_detector_its_words_are_named(home):
    folder, _, _ = home
    said = uad(folder, None, "plan", status=2)
    for word in ("own_padim", "own_good_bad", "own_gradients"):
        assert f"'{word}'" in said
    assert said.count("another package") >= 3


@pytest.mark.end_to_end
def test_a_bundle_of_own_detector_names_the_package_it_needs(home):
    folder, first, second = home
    cell = ("--category", "parts/connector", "--detector", "own")
    uad(folder, first, "export", "bundle", *cell, "--output", "bundle")
    use = ("infer", "--bundle", "bundle", "images/connector/bad", "--json")
    assert uad(folder, first, *use, status=ANOMALOUS)["images"] == 15
    assert 'own-detector was "1.0.0", is "1.1.0"' in (said := uad(folder, second, *use, status=1))
    assert "install uad_orchestrator" in said and "own-detector 1.0.0" in said
    assert "pip install own-detector==1.0.0" in uad(folder, None, *use, status=1)
