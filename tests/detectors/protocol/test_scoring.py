"""Score tables on disk: what was written comes back, a row group at a time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.detectors.protocol import scoring
from uad_orchestrator.detectors.protocol.scoring import ScoreWriter, read_responses, read_scores
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.embedders.protocol import Region


def responses(n: int) -> list[Response]:
    rng = np.random.default_rng(0)
    return [
        Response(
            name=f"test/crack/{i:03}.png",
            score=float(rng.random()),
            patch_grid=rng.random((3 + i % 2, 5)).astype(np.float32),
            region=Region(0.0, 1.5, 30.0, 40.25),
            original_size=(31, 42),
            input_size=(24, 40),
            seconds=0.25,
        )
        for i in range(n)
    ]


def write(directory: Path, given: list[Response]) -> None:
    with ScoreWriter(directory) as writer:
        for i, response in enumerate(given):
            if i % 2:
                writer.add(response, role="test", label=1, defect_type="crack")
            else:
                writer.add(response, role="calibration")


def test_what_was_written_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "ROWS_PER_GROUP", 3)
    given = responses(8)
    write(tmp_path, given)
    rows = read_scores(tmp_path)
    assert [(r.role, r.label, r.defect_type) for r in rows[:2]] == [
        ("calibration", 0, "good"),
        ("test", 1, "crack"),
    ]
    for row, (same, response), original in zip(rows, read_responses(tmp_path), given, strict=True):
        assert row == same
        assert row.score == original.score
        assert np.array_equal(response.patch_grid, original.patch_grid)
        assert response.patch_grid.dtype == np.float32
        assert replace(response, patch_grid=original.patch_grid) == original


def test_a_response_without_a_map_comes_back_without_one(tmp_path: Path) -> None:
    given = [replace(response, patch_grid=None) for response in responses(4)]
    write(tmp_path, given)
    assert [row.grid_shape for row in read_scores(tmp_path)] == [None] * 4
    assert [response for _, response in read_responses(tmp_path)] == given


def test_reading_holds_one_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(scoring, "ROWS_PER_GROUP", 2)
    write(tmp_path, responses(7))
    with pq.ParquetFile(tmp_path / scoring.PATCH_GRIDS) as file:
        assert file.num_row_groups == 4


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert read_scores(tmp_path) == []
    assert list(read_responses(tmp_path)) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_name_their_image(tmp_path: Path, bad: float) -> None:
    (good,) = responses(1)
    with ScoreWriter(tmp_path) as writer:
        with pytest.raises(ValueError, match=r"test/crack/000\.png"):
            writer.add(replace(good, score=bad), role="test")
        with pytest.raises(ValueError, match=r"test/crack/000\.png"):
            writer.add(replace(good, patch_grid=np.full((2, 2), bad)), role="test")
    assert read_scores(tmp_path) == []


def test_other_tools_can_query_it(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    write(tmp_path, responses(4))
    query = f"select count(*), max(score) from '{tmp_path / scoring.SCORES}' where role = 'test'"
    assert duckdb.sql(query).fetchall()[0][0] == 2
