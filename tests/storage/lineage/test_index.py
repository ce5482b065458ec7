"""The index: nobody waits for it, it can be rebuilt, and its documented queries run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.storage.conftest import Put
from uad_orchestrator.detectors.protocol.scoring import PATCH_GRIDS, SCORES, ScoreWriter, read_responses
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.lineage import anew
from uad_orchestrator.storage.lineage.database import LineageError
from uad_orchestrator.storage.lineage.events import LineageEvent
from uad_orchestrator.storage.lineage.index import LineageIndex
from uad_orchestrator.storage.provenance import Provenance

PAGE = Path(__file__).parents[3] / "docs" / "lineage.md"
STAGES = ("memory_bank", "score_table", "metrics_report")
COLUMNS = ("image_auroc", "pixel_ap", "aupro_0.3")
"""What the view ``metrics`` always has."""


@pytest.fixture
def index(store: ArtifactStore) -> LineageIndex:
    return LineageIndex(store.local, store, metrics=COLUMNS, patience=1.0)


def make_cell(
    store: ArtifactStore,
    put: Put,
    *,
    detector: str = "patchcore",
    tag: str = "1",
    auroc: float = 0.9,
    day: int = 1,
) -> list[ArtifactKey]:
    """The three stages of a cell, each reading the one before; versions end in ``tag``."""
    started = datetime(2026, 1, day, tzinfo=UTC)
    keys: list[ArtifactKey] = []
    for position, asset in enumerate(STAGES):
        key = ArtifactKey(asset, "mvtec_ad", "bottle", detector, f"{asset}-{tag}")
        inputs = {"checkpoint": f"77aa-{tag}", "normal_images": "n"}
        read = {keys[-1].asset: keys[-1].version} if keys else inputs
        if asset == "score_table":
            write_scores(store, key, inputs=read, started_at=started + timedelta(hours=position))
        else:
            metrics = {"image_auroc": auroc, "aupro_0.3": None} if asset == "metrics_report" else {}
            put(store, key, inputs=read, metrics=metrics, started_at=started + timedelta(hours=position))
        keys.append(key)
    return keys


def write_scores(store: ArtifactStore, key: ArtifactKey, **made: object) -> None:
    """A score table with two test images and a calibration normal, and patch grids beside."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {
        "image": ["a.png", "b.png", "n.png"],
        "role": ["test", "test", "calibration"],
        "score": [0.1, 0.9, 0.2],
    }
    with store.write(key, Provenance(**vars(key), **made)) as draft:
        pq.write_table(pa.table(rows), draft.directory / "scores.parquet")
        pq.write_table(pa.table({"grid": [[0.5]]}), draft.directory / "patch_grids.parquet")


def record(index: LineageIndex, keys: list[ArtifactKey]) -> None:
    for key in keys:
        index.record(index.store.provenance(key), key)


def hold_open(path: Path, *, read_only: bool) -> subprocess.Popen[str]:
    """Another process that has the DuckDB file open until it is sent a line."""
    program = (
        f"import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={read_only});"
        "print('open', flush=True); sys.stdin.readline()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "open"
    return holder


def test_without_anything_every_table_and_view_is_there_and_empty(index: LineageIndex) -> None:
    names = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.MULTILINE)
    tables = re.findall(r"`(\w+)`", " ".join(names))
    assert {"materialization", "metrics", "scores", "cell_cost"} <= set(tables)
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    assert index.sql(f"SELECT {counts}").rows == [(0,) * len(tables)]
    assert index.sql("FROM metrics").columns[4:] == COLUMNS


def test_what_else_a_report_records_comes_after_the_columns_that_are_always_there(
    index: LineageIndex, store: ArtifactStore, put: Put
) -> None:
    found = {"zeta": 0.2, "image_auroc": 0.9, "aupimo": 0.1}
    record(index, [put(store, ArtifactKey("metrics_report", "d", "c", "x", "1"), metrics=found)])
    assert index.sql("FROM metrics").columns[4:] == (*COLUMNS, "aupimo", "zeta")
    assert index.sql("FROM metrics").rows == [("d", "c", "x", "1", 0.9, None, None, 0.1, 0.2)]


def test_a_recorded_cell_is_in_tables_and_views(index: LineageIndex, store: ArtifactStore, put: Put) -> None:
    record(index, make_cell(store, put))
    assert index.sql("SELECT asset FROM materialization ORDER BY recorded_at").rows == [(s,) for s in STAGES]
    edges = index.sql("SELECT upstream_asset, upstream_version FROM lineage WHERE asset = 'score_table'")
    assert edges.rows == [("memory_bank", "memory_bank-1")]
    metrics = index.sql('SELECT detector, image_auroc, "aupro_0.3" FROM metrics')
    assert metrics.rows == [("patchcore", 0.9, None)]
    scores = "SELECT detector, version, image, score FROM scores WHERE role = 'test' ORDER BY image"
    assert index.sql(scores).rows == [
        ("patchcore", "score_table-1", "a.png", 0.1),
        ("patchcore", "score_table-1", "b.png", 0.9),
    ]
    ((seconds, stage),) = index.sql("SELECT seconds, score_table_seconds FROM cell_cost").rows
    assert seconds > stage > 0


def test_views_show_what_is_current_and_tables_the_history(
    index: LineageIndex, store: ArtifactStore, put: Put
) -> None:
    first = make_cell(store, put, tag="1", auroc=0.8, day=1)
    record(index, first)
    record(index, make_cell(store, put, tag="2", auroc=0.9, day=2))
    assert index.sql("SELECT image_auroc FROM metrics").rows == [(0.9,)]
    assert index.sql("SELECT DISTINCT version FROM scores").rows == [("score_table-2",)]
    history = "SELECT value, round(change, 6) FROM metric_history WHERE name = 'image_auroc'"
    assert index.sql(f"{history} ORDER BY recorded_at").rows == [(0.8, None), (0.9, 0.1)]
    # Back to the first version: nothing is computed, and it is current again.
    for key in first:
        index.record(store.provenance(key), key, reused=True)
    assert index.sql("SELECT image_auroc FROM metrics").rows == [(0.8,)]
    assert index.current_version("metrics_report", "mvtec_ad/bottle", "patchcore") == "metrics_report-1"
    rows = index.history("metrics_report", "mvtec_ad/bottle", "patchcore").rows
    assert [(version, reused) for _, version, reused, *_ in rows] == [
        ("metrics_report-1", True),
        ("metrics_report-2", False),
        ("metrics_report-1", False),
    ]


def test_the_machines_that_made_artifacts_are_those_of_their_records(
    index: LineageIndex, store: ArtifactStore, put: Put
) -> None:
    assert index.hosts() == [], "no index yet, and asking makes none"
    assert not index.path.exists()
    for name in ("line8", "line7", "line8"):
        key = ArtifactKey("memory_bank", "mvtec_ad", "bottle", f"on_{name}", name)
        if not store.exists(key):
            put(store, key, host=name)
        index.record(store.provenance(key), key)
    index.settle()
    assert index.hosts() == ["line7", "line8"]


def test_recording_twice_is_recording_once(index: LineageIndex, store: ArtifactStore, put: Put) -> None:
    keys = make_cell(store, put)
    record(index, keys)
    index.fold()
    record(index, keys)
    tables = ("materialization", "lineage", "metric")
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    assert index.sql(f"SELECT {counts}").rows == [(3, 4, 2)]


def test_a_reuse_notes_the_making_too_whose_process_may_have_been_killed_before_it_did(
    index: LineageIndex, store: ArtifactStore, put: Put
) -> None:
    index.sql("FROM materialization")  # a lost index is made anew, of all that is stored
    key = make_cell(store, put)[0]
    for count in (1, 2):
        index.record(store.provenance(key), key, reused=True)
        rows = index.sql("SELECT reused, count(*) FROM materialization GROUP BY ALL ORDER BY ALL").rows
        assert rows == [(False, 1), (True, count)]


@pytest.mark.parametrize("at_a_time", [1, 4, 2_000])
def test_rebuild_gives_the_same_index(
    index: LineageIndex, store: ArtifactStore, put: Put, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(anew, "AT_A_TIME", at_a_time)
    record(index, make_cell(store, put, tag="1", auroc=0.8, day=1))
    keys = make_cell(store, put, tag="2", day=2)
    record(index, keys)
    index.record(store.provenance(keys[0]), keys[0], reused=True)
    tables = ("materialization", "lineage", "metric", "metrics", "scores")
    before = {table: sorted(index.sql(f"FROM {table}").rows, key=repr) for table in tables}
    assert index.rebuild() == 6
    assert {table: sorted(index.sql(f"FROM {table}").rows, key=repr) for table in tables} == before


def test_a_lost_or_damaged_index_is_rebuilt_from_the_files(
    index: LineageIndex, store: ArtifactStore, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    keys = make_cell(store, put)
    record(index, keys)
    index.sql("FROM metric")
    index.path.write_bytes(b"no database" * 1000)
    with pytest.raises(LineageError, match="uad lineage rebuild"):
        index.sql("FROM metric")
    two_hours_ago = time.time() - 7200
    os.utime(index.path, (two_hours_ago, two_hours_ago))
    index.record(store.provenance(keys[0]), keys[0])
    assert "is stored but not noted" in caplog.text
    assert index.rebuild() == 3
    assert len(index.sql("FROM metric").rows) == 2
    index.path.unlink()
    assert index.rebuild() == 3
    assert len(index.sql("FROM metric").rows) == 2


def test_a_lost_index_is_made_anew_whole_though_the_first_try_was_killed(
    index: LineageIndex, store: ArtifactStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(index, make_cell(store, put))
    count = "SELECT count(*) FROM materialization"
    assert index.sql(count).rows == [(3,)]
    index.path.unlink()

    class Killed(BaseException):
        pass

    def killed(*given: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(anew, "insert_events", killed)
        with pytest.raises(Killed):
            index.sql(count)
    assert index.sql(count).rows == [(3,)]


def test_a_corrupted_provenance_is_left_out_of_a_rebuild(
    index: LineageIndex, store: ArtifactStore, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    bank, *_ = make_cell(store, put)
    (store.open_dir(bank) / "provenance.json").write_text("{")
    assert index.rebuild() == 2
    assert "Left out of the index" in caplog.text


def test_an_open_reader_in_another_process_does_not_block_recording(
    index: LineageIndex, store: ArtifactStore, put: Put
) -> None:
    record(index, make_cell(store, put, tag="1", day=1))
    index.fold()
    reader = hold_open(index.path, read_only=True)
    try:
        record(index, make_cell(store, put, tag="2", day=2))
        assert index.fold() is False
        assert len(index.pending.files()) == 3
        assert len(index.sql("FROM materialization").rows) == 3  # what was folded in before can be read
    finally:
        reader.communicate("done\n", timeout=30)
    assert index.fold() is True
    assert index.pending.files() == []
    assert len(index.sql("FROM materialization").rows) == 6


def test_an_open_writer_is_named(index: LineageIndex, store: ArtifactStore, put: Put) -> None:
    keys = make_cell(store, put)
    record(index, keys)
    index.fold()
    writer = hold_open(index.path, read_only=False)
    try:
        record(index, keys)
        with pytest.raises(LineageError, match=rf"open elsewhere.*{writer.pid}"):
            index.sql("FROM materialization")
    finally:
        writer.communicate("done\n", timeout=30)
    assert len(index.sql("FROM materialization").rows) == 3


def test_processes_that_record_at_once_lose_nothing(index: LineageIndex, store: ArtifactStore) -> None:
    program = """
import sys
from pathlib import Path
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.lineage.index import LineageIndex
from uad_orchestrator.storage.lineage.events import LineageEvent
from uad_orchestrator.storage.provenance import Provenance
store = ArtifactStore(sys.argv[1], local=Path(sys.argv[2]))
index = LineageIndex(Path(sys.argv[2]), store)
for n in range(4):
    index.record(Provenance(asset="a", dataset="d", category="c", detector=sys.argv[3], version=str(n)))
    index.fold()
"""
    arguments = [sys.executable, "-c", program, str(store), str(store.local)]
    workers = [subprocess.Popen([*arguments, f"p{n}"]) for n in range(3)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    assert index.sql("SELECT detector, count(*) FROM materialization GROUP BY ALL ORDER BY ALL").rows == [
        ("p0", 4), ("p1", 4), ("p2", 4),
    ]  # fmt: skip


def test_an_unreadable_event_is_set_aside_and_the_others_go_in(
    index: LineageIndex, store: ArtifactStore, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    (index.pending.folder).mkdir(parents=True)
    (index.pending.folder / "00000000000000000001-x.json").write_text('{"half')
    record(index, make_cell(store, put))
    assert len(index.sql("FROM materialization").rows) == 3
    assert [path.suffix for path in index.pending.folder.iterdir()] == [".unreadable"]
    assert "is no readable event" in caplog.text


def test_recording_never_raises(
    index: LineageIndex, store: ArtifactStore, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    bank, *_ = make_cell(store, put)
    store.local.mkdir(exist_ok=True)
    (store.local / "lineage").write_text("a file where a folder should be")
    index.record(store.provenance(bank), bank)
    assert "memory_bank is stored but not noted" in caplog.text


def test_scores_survive_a_collected_score_table(index: LineageIndex, store: ArtifactStore, put: Put) -> None:
    bank, scores, report = make_cell(store, put)
    record(index, [bank, scores, report])
    assert len(index.sql("FROM scores").rows) == 3
    store.delete(scores)
    assert index.sql("FROM scores").rows == []


def test_scores_of_tables_with_lists_of_fixed_size_and_without_are_one_view(
    index: LineageIndex, store: ArtifactStore
) -> None:
    import duckdb

    def add(detector: str, source: Path) -> None:
        key = ArtifactKey("score_table", "mvtec_ad", "bottle", detector, f"{detector}-1")
        with store.write(key, Provenance(**vars(key))) as draft:
            for file in (SCORES, PATCH_GRIDS):
                shutil.copy(source / file, draft.directory)
        record(index, [key])
        index.fold()

    def seen() -> tuple[list[tuple], list[tuple]]:
        with duckdb.connect(str(index.path), read_only=True) as anyone:  # the view as it was made at first
            rows = anyone.sql("SELECT detector, image, grid_shape[1], region[4] FROM scores ORDER BY ALL")
            return anyone.sql("DESCRIBE scores").fetchall(), rows.fetchall()

    earlier = Path(__file__).parents[2] / "detectors/protocol/score_table_with_fixed_lists"
    now = store.local / "written_now"
    now.mkdir(parents=True)
    with ScoreWriter(now) as writer:
        for row, response in read_responses(earlier):
            writer.add(response, role=row.role, label=row.label, defect_type=row.defect_type)
    add("earlier", earlier)
    columns, rows = seen()
    assert ("grid_shape", "INTEGER[]") in [column[:2] for column in columns]
    add("now", now)
    assert seen() == (columns, rows + [("now", *row[1:]) for row in rows])
    lists = "SELECT DISTINCT image, score, grid_shape, region, original_size, input_size FROM scores"
    assert len(index.sql(lists).rows) == len(rows) == 3


def test_an_index_of_another_schema_is_refused(index: LineageIndex) -> None:
    import duckdb

    index.sql("FROM metric")
    with duckdb.connect(str(index.path)) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    index.pending.append(LineageEvent.computed(Provenance(asset="a", version="v"), "somewhere"))
    with pytest.raises(LineageError, match=r"schema 99.*uad lineage rebuild"):
        index.fold()
    index.rebuild()
    assert len(index.sql("FROM materialization").rows) == 1


@pytest.mark.parametrize("query", ["SELEC 1", "FROM nowhere", "CREATE TABLE x (y INTEGER)"])
def test_a_wrong_query_is_an_error_in_words(index: LineageIndex, query: str) -> None:
    with pytest.raises(LineageError, match="the query failed"):
        index.sql(query)


def documented_queries() -> dict[str, str]:
    """The SQL blocks of the page, by the heading they stand under."""
    return dict(re.findall(r"^## (.+?)\n.*?```sql\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def test_documented_queries_run_as_they_stand(index: LineageIndex, store: ArtifactStore, put: Put) -> None:
    for day, (tag, auroc) in enumerate([("1", 0.8), ("2", 0.9)], start=1):
        record(index, make_cell(store, put, tag=tag, auroc=auroc, day=day))
    record(index, make_cell(store, put, detector="dino", tag="other", day=3))
    queries = documented_queries()
    assert len(queries) >= 4
    found = {heading: index.sql(query) for heading, query in queries.items()}
    history = [(row[1], row[2], row[3]) for row in found["History of one cell"].rows]
    assert history == [
        ("metrics_repo", "aupro_0.3", None),
        ("metrics_repo", "image_auroc", 0.8),
        ("metrics_repo", "aupro_0.3", None),
        ("metrics_repo", "image_auroc", 0.9),
    ]
    used = found["What used this checkpoint"].rows
    assert len(used) == 9
    only_one = queries["What used this checkpoint"].replace("'77aa'", "'77aa-2'")
    assert [row[0] for row in index.sql(only_one).rows] == ["memory_bank", "metrics_report", "score_table"]
    slowest = found["Slowest cells"].rows
    assert {row[2] for row in slowest} == {"patchcore", "dino"}
    assert [row[3] for row in slowest] == sorted((row[3] for row in slowest), reverse=True)
    assert {row[2] for row in found["Images that detectors disagree on"].rows} == {"a.png", "b.png"}
