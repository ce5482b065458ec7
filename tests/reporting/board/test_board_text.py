"""The leaderboard as text."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.reporting.cells import report
from uad_orchestrator.reporting.board.board_text import render_leaderboard
from uad_orchestrator.reporting.board.leaderboard import build_leaderboard
from uad_orchestrator.reporting.board.row import BoardCell


@pytest.fixture(scope="module")
def board():
    return build_leaderboard(
        {
            ("mvtec_ad/bottle", "dino"): report("bottle", "dino", strength=4),
            ("mvtec_ad/bottle", "patchcore"): report("bottle", "patchcore", seed=1, strength=1),
            ("mvtec_ad/screw", "dino"): report("screw", "dino", seed=2),
            ("mvtec_ad/screw", "patchcore"): BoardCell("failed", reason="bad | weights\nsecond line"),
        }
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_table_fits_its_terminal_and_names_every_cell(board, width):
    text = render_leaderboard(board, "table", width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "mvtec_ad/screw" in text and "patchcore (failed)" in text and "bad | weights" in text
    assert f"{board.rows[0].image_auroc:.3f}" in text
    assert "Over 1 of 2 categories: bottle. Left out: screw (patchcore: failed)" in " ".join(text.split())


def test_a_narrow_table_says_that_columns_are_hidden(board):
    assert "more columns" in render_leaderboard(board, "table", width=80)
    assert "more columns" not in render_leaderboard(board, "table", width=300)


def test_markdown_keeps_its_columns_and_marks_the_best(board):
    text = render_leaderboard(board, "md")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = lines[: 2 + len(board.rows)]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert f"**{board.rows[0].image_auroc:.3f}**" in table[2]
    assert "failed: bad \\| weights second line" in table[-1]


def test_csv_has_every_field_unrounded(board):
    rows = list(csv.DictReader(io.StringIO(render_leaderboard(board, "csv"))))
    assert [row["detector"] for row in rows] == ["dino", "patchcore", "dino", "patchcore"]
    assert float(rows[1]["image_ap"]) == board.rows[1].image_ap
    assert float(rows[1]["aupro_0.05"]) == board.rows[1].value("aupro_0.05")
    assert rows[3]["image_auroc"] == "" and rows[3]["status"] == "failed"


def test_json_is_the_board(board):
    assert json.loads(render_leaderboard(board, "json")) == json.loads(board.to_json())


def test_other_formats_are_refused(board):
    with pytest.raises(ValueError, match="choose table, json, md, csv"):
        render_leaderboard(board, "xml")


@pytest.mark.parametrize("format", ["table", "json", "md", "csv"])
def test_a_board_without_cells_renders(format):
    assert render_leaderboard(build_leaderboard({}), format).endswith("\n")


def test_a_table_without_cells_says_so_instead_of_showing_empty_columns() -> None:
    text = render_leaderboard(build_leaderboard({}), "table")
    assert text == "Leaderboard: there are no cells, as no category is known.\n"


def test_columns_that_no_protocol_of_the_board_measures_are_left_out_of_the_table():
    loco = report("pushpins", dataset="mvtec_loco", limits=("spro_0.3", "spro_0.05"))
    text = render_leaderboard(
        build_leaderboard({("mvtec_loco/pushpins", "patchcore"): loco}), "table", width=300
    )
    assert "sPRO" in text and "AUPRO" not in text
    assert f"{loco.metrics['spro_0.05']:.3f}" in text


def test_intervals_that_no_row_has_are_left_out_of_the_table() -> None:
    """Those of an older report are not read; their columns would push others out of the terminal."""
    new = report()
    old = new.model_copy(
        update={
            "intervals": {},
            "image_operating_point": new.image_operating_point.model_copy(update={"intervals": {}}),
        }
    )
    texts = [
        render_leaderboard(build_leaderboard({("mvtec_ad/bottle", "patchcore"): made}), "table", width=300)
        for made in (new, old)
    ]
    assert ["95%" in text for text in texts] == [True, False]
    assert all("guaranteed" in text and "hidden" not in text for text in texts)
