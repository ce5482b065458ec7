"""What is said of a ``dagster.yaml`` that cannot be used: a line each, whatever stands in it, and no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from uad_orchestrator.orchestration.dagster_instance.settings.asking import instance_misfits
from uad_orchestrator.orchestration.dagster_instance.settings.fitting import ProjectFacts
from uad_orchestrator.orchestration.dagster_instance.settings.misfit import Misfit
from uad_orchestrator.orchestration.dagster_instance.settings.read import read_settings

SECRET = "hunter"  # pragma: allowlist secret
RAISING = "raise RuntimeError('no licence')"


def errors(home: Path, text: str) -> list[Misfit]:
    (home / "dagster.yaml").write_text(text)
    return [misfit for misfit in instance_misfits(home, {}, ProjectFacts()) if misfit.severity == "error"]


BROKEN = {
    f"postgresql://uad:{SECRET}: 2@db/uad": 42,  # pragma: allowlist secret
    f'"postgresql://uad:{SECRET}"2@db': 44,  # pragma: allowlist secret
}


@pytest.mark.parametrize(("value", "place"), BROKEN.items())
def test_a_line_that_is_no_yaml_is_said_by_its_place_alone(tmp_path: Path, value: str, place: int) -> None:
    (fault,) = errors(tmp_path, f"storage:\n  postgres:\n    postgres_url: {value}\n")
    assert f"cannot be read: line 3, column {place}: " in fault.said and SECRET not in fault.said


@pytest.mark.parametrize(
    ("module", "name", "key", "words"),
    [
        ("os", "path", "class", "os.path is no run launcher"),
        ("os", "getcwd", "class", "os.getcwd is no run launcher"),
        ("os", "Gone", "class", "os has no Gone"),
        (".near", "Launcher", "module", ".near cannot be imported"),
        ("raises_at_import", "Launcher", "module", "raises_at_import cannot be imported (no licence)"),
    ],
)
def test_a_class_that_is_no_run_launcher_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, key: str, words: str
) -> None:
    (tmp_path / "raises_at_import.py").write_text(RAISING)
    monkeypatch.syspath_prepend(tmp_path)
    found = {
        fault.key: fault.said
        for fault in errors(tmp_path, f"run_launcher: {{module: {module}, class: {name}}}")
    }
    assert words in found[f"run_launcher.{key}"]


def test_keys_that_are_no_words_are_refused_by_dagster(tmp_path: Path) -> None:
    (fault,) = errors(tmp_path, "5: {6: 7}")
    assert fault.said.startswith("is refused by Dagster")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [*x]", "a[0] refers to itself by an alias: write it out"),
        ("storage: &x {postgres: {postgres_url: *x}}", "storage.postgres.postgres_url refers to itself"),
        ("&x {storage: *x}", "storage refers to itself"),
        ("&x {'': *x}", " refers to itself"),
        (f"a: {'[' * 3000}{']' * 3000}", "it is nested too deeply"),
    ],
)
def test_a_value_that_holds_itself_is_named(tmp_path: Path, text: str, words: str) -> None:
    (fault,) = errors(tmp_path, text)
    assert fault.said.startswith("cannot be read: ") and words in fault.said


def test_an_alias_that_is_no_circle_is_read(tmp_path: Path) -> None:
    text = "run_retries: {enabled: &yes true}\nrun_monitoring: {enabled: *yes}\n"
    assert errors(tmp_path, text) == []
    both = "run_monitoring: &m {enabled: true}\nsensors: &s {use_threads: true}\nschedules: *s\n"
    assert errors(tmp_path, both) == []


def test_aliases_of_aliases_are_looked_at_once(tmp_path: Path) -> None:
    """30 lines that stand for a billion values."""
    lines = ["a0: &a0 [1, 2]", *(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]" for n in range(30))]
    (tmp_path / "dagster.yaml").write_text("\n".join(lines))
    assert len(read_settings(tmp_path)) == 31
