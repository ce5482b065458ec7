"""The processes of ``uad ui``: where they talk to each other, and what is said when one of them ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from uad_orchestrator.orchestration.services import servers


def test_sockets_lie_where_their_paths_are_short_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("ä" * 60)
    for place, chosen in ((Path("/var/tmp"), None), (long, "/tmp")):
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        assert servers._place_for_sockets() == chosen


def test_which_process_has_ended_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as waiting,
        subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as ended,
    ):
        ended.wait()
        assert servers._status({"web server": waiting}) is None
        assert servers._status({"web server": waiting, "daemon": ended}) == 3
        waiting.communicate(b"\n")
    assert capfd.readouterr().err == "uad ui: Dagster's daemon has ended with exit status 3\n"
