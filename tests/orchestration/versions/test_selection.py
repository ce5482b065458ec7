"""Globs over the grid: each names what it should, and one that names nothing is an error."""

from __future__ import annotations

import pytest

from uad_orchestrator.orchestration.versions.graph import CELL_ASSETS, Cell
from uad_orchestrator.orchestration.versions.selection import Selection

GRID = [
    Cell(category, detector)
    for category in ("mvtec_ad/bottle", "mvtec_ad/screw", "visa/bottle")
    for detector in ("patchcore", "few@seed0", "few@seed1", "Dino")
]


def covered(**globs: tuple[str, ...]) -> set[tuple[str, str]]:
    selection = Selection(**globs)  # type: ignore[arg-type]
    selection.check(GRID)
    return {(cell.category, cell.detector) for cell in GRID if selection.covers(cell)}


@pytest.mark.parametrize(
    ("globs", "categories"),
    [
        ((), 0),
        (("*",), 3),
        (("bottle",), 2),
        (("mvtec_ad/*",), 2),
        (("mvtec_ad/bottle",), 1),
        (("screw", "visa/*"), 2),
        (("[bs]*",), 3),
        (("*/screw",), 1),
        (("*tt*", "*tt*"), 2),
    ],
)
def test_a_category_is_named_with_or_without_its_dataset(globs: tuple[str, ...], categories: int) -> None:
    found = {category for category, _ in covered(categories=globs)}
    assert len(found) == categories


@pytest.mark.parametrize(
    ("globs", "detectors"),
    [
        (("*",), {"patchcore", "few@seed0", "few@seed1", "Dino"}),
        (("few",), {"few@seed0", "few@seed1"}),
        (("few@seed1",), {"few@seed1"}),
        (("*@seed0",), {"few@seed0"}),
        (("D*", "p*"), {"Dino", "patchcore"}),
    ],
)
def test_the_name_of_one_with_repeats_covers_all_its_seeds(
    globs: tuple[str, ...], detectors: set[str]
) -> None:
    assert {detector for _, detector in covered(detectors=globs)} == detectors


def test_category_and_detector_narrow_together_and_case_counts() -> None:
    assert covered(categories=("screw",), detectors=("few@seed0",)) == {("mvtec_ad/screw", "few@seed0")}
    assert not Selection(detectors=("dino",)).covers(GRID[3])
    assert not Selection(categories=("Bottle",)).covers(GRID[0])
    assert not Selection(categories=("bottle",), detectors=("dino",)).covers(GRID[0])
    assert not Selection(categories=("cube",), detectors=("patchcore",)).covers(GRID[0])


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection(categories=("screw", "nut")),
            "--category 'nut' matches none of: mvtec_ad/bottle, mvtec_ad/screw, visa/bottle",
        ),
        (
            Selection(detectors=("few@seed2",)),
            "--detector 'few@seed2' matches none of: Dino, few@seed0, few@seed1, patchcore",
        ),
        (Selection(categories=("nut",), detectors=("none",)), "--category 'nut' matches none of: "),
    ],
)
def test_a_glob_that_names_nothing_says_what_there_is(selection: Selection, message: str) -> None:
    with pytest.raises(ValueError) as error:
        selection.check(GRID)
    assert str(error.value).startswith(message)


def test_in_an_empty_grid_everything_is_all_there_is() -> None:
    Selection().check([])
    with pytest.raises(ValueError) as error:
        Selection(detectors=("few",)).check([])
    assert str(error.value) == "--detector 'few' matches none of: (the grid is empty)"


def test_an_asset_is_one_of_a_cells_or_the_board() -> None:
    for asset in (*CELL_ASSETS, "leaderboard"):
        selection = Selection(asset=asset)
        assert [name for name in (*CELL_ASSETS, "leaderboard") if selection.names(name)] == [asset]
    assert all(Selection().names(asset) for asset in CELL_ASSETS)
    with pytest.raises(ValueError) as error:
        Selection(asset="normal_images")
    expected = (
        "there is no benchmark asset 'normal_images': expected one of checkpoint, memory_bank, score_table, "
    )
    assert str(error.value) == expected + "anomaly_maps, metrics_report, leaderboard"
