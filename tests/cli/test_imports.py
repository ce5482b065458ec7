"""Every command imports only what it needs: what is slow to import and of no use to it is not loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestration.workshop import Workshop

NETWORKS = {"torch", "torchvision", "timm", "open_clip", "anomalib", "lightning", "faiss", "openvino"}
PICTURES = {"matplotlib", "PIL", "cv2", "skimage", "tifffile"}
SCIENCE = {"scipy", "sklearn"}
TABLES = {"pyarrow", "duckdb", "pandas"}
DAGSTER = {"dagster", "sqlalchemy", "alembic", "grpc"}
EVERYTHING = {*NETWORKS, *PICTURES, *SCIENCE, *TABLES, *DAGSTER}

HELP = {*EVERYTHING, "numpy", "yaml", "croniter", "fsspec"}
"""``uad --help`` needs the words of the options only."""

NOT_NEEDED: dict[tuple[str, ...], set[str]] = {
    ("--version",): HELP,
    ("--help",): HELP,
    ("refresh", "--help"): HELP,
    ("infer", "--help"): HELP,
    ("export", "bundle", "--help"): HELP,
    ("init",): EVERYTHING,
    ("plan", "--json"): EVERYTHING - DAGSTER,
    ("leaderboard",): EVERYTHING,
    ("leaderboard", "--json"): EVERYTHING,
    ("why", "metrics_report", "alpha/disc", "patchcore"): EVERYTHING,
    ("check",): NETWORKS | SCIENCE | TABLES | {"matplotlib", "skimage"},
    ("sql", "SELECT 1"): EVERYTHING - {"duckdb"},
    ("gc", "--dry-run"): EVERYTHING - DAGSTER,
}
"""A command -> what must not be loaded when it has ended."""

CODE = """
import sys
from uad_orchestrator.cli import app
try:
    app(sys.argv[2:])
finally:
    print("loaded:", *sorted(set(sys.argv[1].split(",")) & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is fresh but for one detector, which was never computed."""
    workshop = Workshop.build(tmp_path_factory.mktemp("project"), {"alpha": ["disc"]})
    assert not workshop.refresh().failed
    workshop.edit(lambda values: values["detectors"].update(another={"model": "vision_patchcore"}))
    return workshop.home


@pytest.mark.parametrize("command", NOT_NEEDED, ids=" ".join)
def test_only_what_a_command_needs_is_imported(
    command: tuple[str, ...], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UAD_HOME", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = tmp_path if command == ("init",) else home
    call = [sys.executable, "-c", CODE, ",".join(NOT_NEEDED[command]), *command]
    done = subprocess.run(call, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "loaded:", done.stderr


def test_loading_the_code_location_loads_no_more_than_dagster_and_ours(home: Path) -> None:
    code = (
        "import sys, uad_orchestrator.definitions; "
        "print(*sorted(set(sys.argv[1].split(',')) & set(sys.modules)))"
    )
    not_needed = EVERYTHING - {"dagster", "grpc"}
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(sorted(not_needed))],
        env={**os.environ, "UAD_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
