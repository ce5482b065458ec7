"""Score tables on disk: what was written comes back, a row group at a time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.detectors.protocol import scoring
from uad_orchestrator.detectors.protocol.scoring import ScoreWriter, read_responses, read_scores
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.tiles import TileGrid


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


EARLIER = Path(__file__).parent / "score_table_with_fixed_lists"
"""A table of ``one_of_each``, written by pyarrow 26 when lists of two and four were noted as of fixed size."""


def one_of_each() -> list[Response]:
    """An image with a patch grid, one without, one in tiles."""
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    whole = Response("a.png", 0.5, grid, Region(0.0, 1.5, 30.0, 40.25), (31, 42), (24, 40), 0.25)
    tiles = TileGrid((0, 16), (0, 16, 32), 32, (48, 64))
    return [
        whole,
        replace(whole, name="b.png", score=1.5, patch_grid=None),
        replace(whole, name="c.png", patch_grid=np.stack([grid + i for i in range(6)]), tiles=tiles),
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


def same(found: Response, given: Response) -> bool:
    grids = found.patch_grid, given.patch_grid
    equal = all(grid is None for grid in grids) or np.array_equal(*grids)
    return equal and replace(found, patch_grid=None) == replace(given, patch_grid=None)


def test_a_table_with_lists_of_fixed_size_is_read_as_before() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pair = pa.list_(pa.int32(), 2)
    assert pq.read_schema(EARLIER / scoring.SCORES).field("grid_shape").type == pair
    assert pq.read_schema(EARLIER / scoring.PATCH_GRIDS).field("tiles").type.field("size").type == pair
    found = list(read_responses(EARLIER))
    assert read_scores(EARLIER) == [row for row, _ in found]
    assert [row.role for row, _ in found] == ["calibration", "test", "calibration"]
    assert all(same(response, given) for (_, response), given in zip(found, one_of_each(), strict=True))


def test_lists_are_written_without_a_size_as_every_pyarrow_reads_them(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write(tmp_path, one_of_each())
    for name in (scoring.SCORES, scoring.PATCH_GRIDS):
        assert "fixed_size_list" not in str(pq.read_schema(tmp_path / name))
        assert pq.read_table(tmp_path / name).num_rows == 3
        columns = [pq.read_metadata(folder / name).schema for folder in (tmp_path, EARLIER)]
        assert columns[0].equals(columns[1])  # the columns themselves are the same
    found = [response for _, response in read_responses(tmp_path)]
    assert all(map(same, found, one_of_each()))


def test_the_first_tables_had_no_column_of_tiles(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    given = one_of_each()[:2]
    write(tmp_path, given)
    grids = pq.read_table(tmp_path / scoring.PATCH_GRIDS).drop_columns(["tiles"])
    pq.write_table(grids, tmp_path / scoring.PATCH_GRIDS)
    assert all(same(found, one) for (_, found), one in zip(read_responses(tmp_path), given, strict=True))


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
    import duckdb

    write(tmp_path, responses(4))
    query = f"select count(*), max(score) from '{tmp_path / scoring.SCORES}' where role = 'test'"
    assert duckdb.sql(query).fetchall()[0][0] == 2
