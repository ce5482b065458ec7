"""``--category`` and ``--detector``: globs, several times, and never one that names nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.invoke import uad
from tests.orchestration.workshop import Workshop


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Workshop.build(tmp_path_factory.mktemp("selecting"), {"alpha": ["disc", "ring"]}).home


def stale_cells(home: Path, *options: str) -> set[tuple[str, str]]:
    found = json.loads(uad("plan", "--home", home, *options, "--json").stdout)["stale"]
    return {(row["category"], row["detector"]) for row in found if row["category"]}


def test_each_of_several_globs_counts(home: Path) -> None:
    detectors = {detector for _, detector in stale_cells(home)}
    assert len(detectors) == 3
    assert stale_cells(home, "--detector", "patchcore", "--detector", "d*") == {
        (category, detector)
        for category in ("alpha/disc", "alpha/ring")
        for detector in ("patchcore", "dino")
    }
    assert stale_cells(home, "--category", "ring", "--category", "alpha/d*", "--detector", "dino") == {
        ("alpha/disc", "dino"),
        ("alpha/ring", "dino"),
    }


@pytest.mark.parametrize("command", ["plan", "refresh", "leaderboard", "robustness"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--detector", "patchcore", "--detector", "patchcor"),
            "--detector 'patchcor' matches none of: bright, dino, patchcore",
        ),
        (("--category", "bottle"), "--category 'bottle' matches none of: alpha/disc, alpha/ring"),
    ],
)
def test_a_glob_that_names_nothing_is_wrong_usage(
    home: Path, command: str, options: tuple[str, ...], said: str
) -> None:
    done = uad(command, "--home", home, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
