"""What CI installs as the lowest versions is what pyproject.toml declares."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
INSTALLED = dict(line.split("==") for line in (ROOT / "constraints-lowest.txt").read_text().splitlines())


@pytest.mark.parametrize("declared", DECLARED)
def test_the_lowest_version_is_the_one_declared(declared: str) -> None:
    requirement = Requirement(declared)
    (floor,) = (Version(part.version) for part in requirement.specifier if part.operator == ">=")
    version = Version(INSTALLED[canonicalize_name(requirement.name)])
    # 3.15 may have been published as 3.15.1 only
    assert version.release[: len(floor.release)] == floor.release, (
        "make constraints-lowest.txt anew (.ci/run)"
    )
