"""A threshold is written into uad.yaml, and everything else in the file stays: values, comments, layout, bytes."""

from __future__ import annotations

import copy
import difflib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.metrics import Pin
from uad_orchestrator.project import ProjectError, load_project, pinning
from uad_orchestrator.project.pinning import PinningError, with_pin, write_pin

PROJECT = """\
# line 7, set up by Anna
datasets:
  line7:   {layout: folder,   root: data/line7, categories: [housing, lid]}   # new normals arrive daily
detectors:
  patchcore:   # the one in use
    model: vision_patchcore
    review: {from_fpr: 0.2}

  other: {model: vision_patchcore, seed: 1}

# the end
"""
POINTS = """
operating_points:
  # agreed with the line's owner
  line7/housing:
    patchcore:
      image: {threshold: 0.5, by: bert, at: 2026-01-02}   # see the minutes
      pixel:
        threshold: 7.5
        by: bert
        at: 2026-01-02
  line7/lid: {other: {image: {fpr: 0.01, by: bert, at: 2026-01-02}, pixel: {fpr: 0.01, by: bert, at: 2026-01-02}}}
# really the end
"""
PIN = Pin(
    threshold=0.4127, chosen_on="test labels", by="anna", at=date(2026, 11, 27), why="misses: 50, alarms: 1"
)
ENTRY = {
    "threshold": 0.4127,
    "chosen_on": "test labels",
    "by": "anna",
    "at": date(2026, 11, 27),
    "why": "misses: 50, alarms: 1",
}


def place(category: str = "line7/housing", detector: str = "patchcore", of: str = "image") -> tuple[str, ...]:
    return ("operating_points", category, detector, of)


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines taken out, and those put in."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [x[2:] for x in lines if x.startswith("- ")], [x[2:] for x in lines if x.startswith("+ ")]


def test_the_first_point_is_put_at_the_end() -> None:
    after = with_pin(PROJECT, place(), PIN)
    assert after.startswith(PROJECT)
    assert after.removeprefix(PROJECT) == (
        "\noperating_points:\n  line7/housing:\n    patchcore:\n"
        "      image: {threshold: 0.4127, chosen_on: test labels, by: anna, at: 2026-11-27, "
        "why: 'misses: 50, alarms: 1'}\n"
    )


@pytest.mark.parametrize(
    ("where", "taken", "put"),
    [
        (place(), 1, 1),
        (place(of="pixel"), 4, 1),
        (place(detector="other"), 0, 2),
        (place("line7/lid", "patchcore"), 1, 1),
        (place("line7/lid", "other"), 1, 1),
        (place("line7/lid", "other", "pixel"), 1, 1),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_lines_of_the_entry_change(
    where: tuple[str, ...], taken: int, put: int, newline: str
) -> None:
    text = (PROJECT + POINTS).replace("\n", newline)
    after = with_pin(text, where, PIN)
    removed, added = changed_lines(text, after)
    assert (len(removed), len(added)) == (taken, put)
    assert after.count("\n") == after.count(newline) and "# see the minutes" in after
    points = yaml.safe_load(after)["operating_points"]
    assert points[where[1]][where[2]][where[3]] == ENTRY
    assert with_pin(after, where, PIN) == after


def test_taking_out_leaves_nothing_empty_behind() -> None:
    text = PROJECT + POINTS
    without = with_pin(text, place(of="pixel"), None)
    assert changed_lines(text, without) == (
        ["      pixel:", "        threshold: 7.5", "        by: bert", "        at: 2026-01-02"],
        [],
    )
    without = with_pin(with_pin(without, place(), None), place("line7/lid", "other"), None)
    assert list(yaml.safe_load(without)["operating_points"]) == ["line7/lid"]
    assert "# agreed with the line's owner" in without
    last = with_pin(without, place("line7/lid", "other", "pixel"), None)
    assert "operating_points" not in yaml.safe_load(last) and last.startswith(PROJECT)
    assert with_pin(PROJECT, place(), None) == PROJECT


@pytest.mark.parametrize(
    "empty", ["operating_points:\n", "operating_points: {}  # none yet\n", "operating_points: ~\n"]
)
def test_an_empty_section_is_filled(empty: str) -> None:
    text = empty + PROJECT
    after = with_pin(text, place(), PIN)
    assert yaml.safe_load(after)["operating_points"] == {"line7/housing": {"patchcore": {"image": ENTRY}}}
    assert after.endswith(PROJECT)


NAMES = st.sampled_from(["line7/housing", "line7/lid", "01/a b"])
CELLS = st.tuples(
    NAMES, st.sampled_from(["patchcore", "other@seed1", "ü"]), st.sampled_from(["image", "pixel"])
)
PINS = st.builds(
    Pin,
    threshold=st.floats(-1e6, 1e6),
    by=st.sampled_from(["anna", "Bert B.", "yes", "7"]),
    at=st.dates(),
    why=st.text(st.characters(exclude_categories=("C", "Z")), max_size=12),
)


@given(st.lists(st.tuples(CELLS, st.none() | PINS), max_size=6), st.booleans())
def test_any_edits_give_what_the_same_edits_of_the_values_give(
    edits: list[tuple[tuple[str, str, str], Pin | None]], with_points: bool
) -> None:
    text = PROJECT + (POINTS if with_points else "")
    expected: dict[str, Any] = yaml.safe_load(text).get("operating_points") or {}
    for (category, detector, of), pin in edits:
        text = with_pin(text, place(category, detector, of), pin)
        expected = copy.deepcopy(expected)
        if pin is not None:
            entry = pin.model_dump(exclude_defaults=True)
            expected.setdefault(category, {}).setdefault(detector, {})[of] = entry
        elif of in expected.get(category, {}).get(detector, {}):
            del expected[category][detector][of]
            expected[category] = {name: value for name, value in expected[category].items() if value}
            expected = {name: value for name, value in expected.items() if value}
    found = yaml.safe_load(text)
    assert (found.get("operating_points") or {}) == expected
    assert {**found, "operating_points": 0} == {**yaml.safe_load(PROJECT), "operating_points": 0}
    assert PROJECT.rstrip() in text


def test_an_alias_is_not_edited_through() -> None:
    shared = "operating_points:\n  line7/housing: &same\n    patchcore: {pixel: {fpr: 0.1, by: a, at: 2026-01-02}}\n"
    with pytest.raises(PinningError, match=r"write image: \{threshold: 0.4127"):
        with_pin(f"{shared}  line7/lid: *same\n", place(), PIN)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "uad.yaml").write_text(PROJECT)
    return tmp_path


def test_the_project_has_the_point(home: Path) -> None:
    (home / "uad.yaml").chmod(0o640)
    write_pin(home, "line7/housing", "patchcore", "image", PIN)
    assert load_project(home).pins("line7/housing", "patchcore").image == PIN
    assert load_project(home).pins("line7/lid", "patchcore").image is None
    assert (home / "uad.yaml").stat().st_mode & 0o777 == 0o640
    assert {path.name for path in home.iterdir()} == {"uad.yaml", ".uad"}


def test_of_two_at_once_the_second_sees_the_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, reads, other = pinning.read_regular, iter(range(9)), ThreadPoolExecutor(1)
    later: list[Future[str]] = []

    def overtaken(path: Path) -> bytes:
        """The second reading is the last look before the file is replaced: then another one comes."""
        found = read(path)
        if next(reads) == 1:
            later.append(other.submit(write_pin, home, "line7/lid", "other", "image", PIN))
            with suppress(TimeoutError):
                later[0].result(timeout=0.5)
        return found

    monkeypatch.setattr(pinning, "read_regular", overtaken)
    write_pin(home, "line7/housing", "patchcore", "image", PIN)
    with pytest.raises(PinningError, match="was changed while"):
        later[0].result()
    assert load_project(home).pins("line7/housing", "patchcore").image == PIN


def test_a_file_that_must_not_be_written_to_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinning.os, "access", lambda path, mode: False)  # root may write to any
    with pytest.raises(PinningError, match="is read-only"):
        write_pin(home, "line7/housing", "patchcore", "image", PIN)
    assert (home / "uad.yaml").read_text() == PROJECT


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_was_put_at_the_end_and_taken_out_again_leaves_no_trace(newline: str) -> None:
    text = PROJECT.replace("\n", newline)
    assert with_pin(with_pin(text, place(), PIN), place(), None) == text
    spaced = text + newline
    assert with_pin(spaced, place(), PIN).startswith(spaced + "operating_points:")


def test_a_link_to_the_file_stays_one(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "linked"
    elsewhere.mkdir()
    (elsewhere / "uad.yaml").symlink_to(home / "uad.yaml")
    write_pin(elsewhere, "line7/lid", "other", "pixel", PIN)
    assert (elsewhere / "uad.yaml").is_symlink()
    assert load_project(home).pins("line7/lid", "other").pixel == PIN


def test_a_dry_run_writes_nothing(home: Path) -> None:
    after = write_pin(home, "line7/housing", "patchcore", "image", PIN, dry_run=True)
    assert "0.4127" in after and (home / "uad.yaml").read_text() == PROJECT


def test_a_point_that_the_project_refuses_is_not_written(home: Path) -> None:
    with pytest.raises(ProjectError, match="review begins below"):
        write_pin(home, "line7/housing", "patchcore", "image", Pin(fpr=0.3, by="anna", at=date(2026, 1, 2)))
    assert (home / "uad.yaml").read_text() == PROJECT


def test_a_file_that_changes_meanwhile_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = pinning.project_from_text

    def edited_meanwhile(*arguments: Any, **named: Any) -> Any:
        (home / "uad.yaml").write_text(PROJECT + "# by an editor\n")
        return checked(*arguments, **named)

    monkeypatch.setattr(pinning, "project_from_text", edited_meanwhile)
    with pytest.raises(PinningError, match="was changed while"):
        write_pin(home, "line7/housing", "patchcore", "image", PIN)
    assert (home / "uad.yaml").read_text() == PROJECT + "# by an editor\n"
    assert {path.name for path in home.iterdir()} == {"uad.yaml", ".uad"}
