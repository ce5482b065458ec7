"""MVTec LOCO's defects_config.json: what stands in it, and what cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uad_orchestrator.datasets.defects_config import DefectKind, read_defects_config
from uad_orchestrator.datasets.problems import DatasetError

ENTRY = {
    "defect_name": "missing pin",
    "pixel_value": 254,
    "saturation_threshold": 0.25,
    "relative_saturation": True,
}
NAME = "pushpins/defects_config.json"


def write(root: Path, entries: Any) -> None:
    (root / "pushpins").mkdir(exist_ok=True)
    (root / NAME).write_text(entries if isinstance(entries, str) else json.dumps(entries))


def faults(root: Path) -> list[str]:
    with pytest.raises(DatasetError, match="defects_config") as caught:
        read_defects_config(root, NAME)
    return [str(problem) for problem in caught.value.problems]


def test_it_is_read_as_published(tmp_path: Path) -> None:
    absolute = {**ENTRY, "pixel_value": 255, "saturation_threshold": 6300, "relative_saturation": False}
    write(tmp_path, [ENTRY, absolute])
    assert read_defects_config(tmp_path, NAME) == (
        DefectKind("missing pin", 254, 0.25, True),
        DefectKind("missing pin", 255, 6300, False),
    )


@pytest.mark.parametrize(
    ("kind", "area", "expected"),
    [
        (DefectKind("relative", 1, 0.25, True), 10, 2),  # cut down, as the evaluator does
        (DefectKind("relative", 1, 1.0, True), 10, 10),
        (DefectKind("relative", 1, 0.25, True), 3, 0),
        (DefectKind("absolute", 1, 7, False), 10, 7),
        (DefectKind("absolute", 1, 7, False), 3, 3),
    ],
)
def test_saturation_areas_are_the_evaluators(kind: DefectKind, area: int, expected: int) -> None:
    assert kind.saturation_area(area) == expected


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path) == [f"{NAME}: no such file; sPRO needs its saturation thresholds"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pixel_value": 0}, "pixel_value 0; expected a whole number from 1 to 255"),
        ({"pixel_value": "254"}, "pixel_value '254'"),
        ({"saturation_threshold": 0}, "saturation_threshold 0; expected a share of the area above 0"),
        ({"saturation_threshold": 1.5}, "at most 1"),
        ({"saturation_threshold": "all"}, "expected a number"),
        ({"saturation_threshold": 0.5, "relative_saturation": False}, "expected a whole number of pixels"),
        ({"relative_saturation": 1}, "expected true or false"),
    ],
)
def test_an_entry_that_cannot_be_is_named(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    write(tmp_path, [ENTRY, {**ENTRY, "pixel_value": 3, **changed}])
    [fault] = faults(tmp_path)
    assert fault.startswith(f"{NAME}: entry 1: ") and said in fault


def test_all_entries_are_looked_at(tmp_path: Path) -> None:
    write(tmp_path, [{"defect_name": "only"}, {**ENTRY, "pixel_value": 300}, 5])
    assert len(faults(tmp_path)) == 3
    write(tmp_path, [ENTRY, ENTRY])
    assert faults(tmp_path) == [f"{NAME}: pixel_value 254 stands in several entries"]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_what_is_no_list_of_entries_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert len(faults(tmp_path)) == 1
