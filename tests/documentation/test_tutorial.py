"""The tutorial as it stands there, from its first line to the last, on the images that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documentation.following import follow, steps
from tests.end_to_end.ui_process import free_port

pytestmark = pytest.mark.end_to_end


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    said = [follow(block, tmp_path, {"8077": free_port()}) for block in steps("tutorial.md")]
    images, settings, check, results, change, why, bundle, program, service = said
    assert (images, settings) == ("", "")
    assert "0 problems" in check
    assert "patchcore" in results and "anomalydino_8shot" in results
    assert (tmp_path / ".uad" / "report.html").stat().st_size > 100_000
    assert "scoring settings changed: contamination 0.05 -> 0.1" in change
    assert "memory_bank" not in change and "0 images embedded" in change
    assert "24 images" in why and "contamination 0.05 -> 0.1" in why
    assert "status 3" in bundle
    assert sorted(path.suffix for path in (tmp_path / "maps").rglob("*.tiff")) == [".tiff"] * 6
    assert len([path for path in (tmp_path / "overlays").rglob("*") if path.is_file()]) == 6
    assert program.count("DefectRegion(") >= 6
    assert '"label":1' in service.replace(" ", "")
