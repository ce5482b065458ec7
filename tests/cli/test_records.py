"""``uad infer --record``: what it prints stays, and what it recorded is there at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.invoke import uad
from uad_orchestrator.inference import Bundle, save_bundle
from uad_orchestrator.inference.records.record_files import read_day, recorded_days

CELL = ("line7/disc", "patchcore")


def without_seconds(printed: str) -> dict[str, Any]:
    values = json.loads(printed)
    return {**values, "results": [{**row, "seconds": None} for row in values["results"]]}


def test_what_is_printed_stays(bundle_folder: Path, images: dict[str, Path], tmp_path: Path) -> None:
    line = ("infer", "--bundle", bundle_folder, "--json", *images.values())
    plain, recording = uad(*line), uad(*line, "--record", tmp_path / "records")
    assert (plain.exit_code, plain.stderr) == (recording.exit_code, recording.stderr)
    assert without_seconds(plain.stdout) == without_seconds(recording.stdout)
    (day,) = recorded_days(tmp_path / "records", *CELL)
    found = read_day(tmp_path / "records", *CELL, day)
    results = json.loads(recording.stdout)["results"]
    assert [(one.image, one.score, one.decision, one.seconds) for one in found] == [
        (row["image"], row["score"], row["decision"], row["seconds"]["total"]) for row in results
    ]


def test_nothing_is_recorded_unasked(
    bundle_folder: Path, images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert uad("infer", "--bundle", bundle_folder, images["a"]).exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_recorded_or_sent_is_refused_before_the_first_image(
    bundle: Bundle, bundle_folder: Path, images: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for options, said in (
        (("--record", tmp_path / "file"), f"{tmp_path / 'file'}"),
        (("--webhook", "ftp://host/secret"), "--webhook: expected http:// or https://"),
        (("--mqtt", "broker/#"), "--mqtt: 'broker/#' is no HOST/TOPIC"),
    ):
        found = uad("infer", "--bundle", bundle_folder, images["a"], *options)
        assert (found.exit_code, found.stdout) == (1, "") and said in found.stderr, found.stderr
        assert "secret" not in found.stderr
    odd = save_bundle(type(bundle)(**{**vars(bundle), "name": "mine"}), tmp_path / "odd")
    found = uad("infer", "--bundle", odd, images["a"], "--record", tmp_path / "records")
    assert found.exit_code == 1 and "dataset/category x detector" in found.stderr
