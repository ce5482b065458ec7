"""What CI says of pip-audit's answers: it must neither pass silently nor fail for a service that is out of reach."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

AUDIT = runpy.run_path(str(Path(__file__).parents[1] / ".ci/audit.py"))
SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
SKIPPED = {"name": "odd", "skip_reason": "Dependency not found on PyPI and could not be audited: odd (1.0)"}
FOUND = {
    "name": "pillow",
    "version": "9.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["10.3"], "aliases": []}],
}


def test_a_known_vulnerability_fails_with_its_name() -> None:
    lines, status = AUDIT["judge"]([SOUND, FOUND, SKIPPED])
    assert status == 1
    assert "pillow 9.0: PYSEC-1, mended in 10.3" in lines


def test_what_the_service_does_not_know_was_not_checked() -> None:
    lines, status = AUDIT["judge"]([SKIPPED] * 7)
    assert status == 0
    assert lines[0].startswith("not checked: 7 of 7 packages") and lines[-1].startswith("checked: 0 packages")
    assert AUDIT["judge"]([])[0][0].startswith("not checked")
    assert AUDIT["judge"]([SOUND]) == (["checked: 1 packages; vulnerable: none known"], 0)


@pytest.mark.parametrize("answer", ["", "{}", "no JSON"])
def test_a_service_out_of_reach_is_said(monkeypatch, capsys, answer: str) -> None:
    done = SimpleNamespace(stdout=answer, stderr="Traceback ...\nConnectionError: no such host", returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: done)
    assert AUDIT["main"]("constraints.txt") == 0
    assert (
        "not checked: pip-audit gave no answer: ['ConnectionError: no such host']" in capsys.readouterr().out
    )
