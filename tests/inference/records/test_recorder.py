"""What ``LineOutput`` records of real results, in this process and in those that are killed."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.end_to_end.ui_process import free_port
from tests.inference.service.serving import serving
from uad_orchestrator.images.look import Look
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import Bundle, BundleError, InferenceResult, infer
from uad_orchestrator.inference.line_output import LineOutput, LineTargets, line_output
from uad_orchestrator.inference.records import kept_images, recorder
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.records.record_files import (
    cell_folder,
    read_day,
    recorded_cells,
    recorded_days,
)
from uad_orchestrator.metrics.thresholds.decision import review_from
from uad_orchestrator.storage.digests import file_digest

CELL = ("line7/disc", "patchcore")


def recorded(records: Path) -> list[LineRecord]:
    return [one for day in recorded_days(records, *CELL) for one in read_day(records, *CELL, day)]


def day_folder(records: Path, record: LineRecord) -> Path:
    return cell_folder(records, *CELL) / record.day


def files(records: Path, pattern: str) -> list[Path]:
    return sorted(records.glob(f"*/*/*/*/{pattern}"))


@pytest.fixture
def results(bundle: Bundle, images: dict[str, Path]) -> list[InferenceResult]:
    """Of a normal, a defective and a normal image."""
    return list(infer(bundle, images.values(), include_files=True))


def test_a_record_has_what_the_result_says(
    bundle: Bundle, images: dict[str, Path], results: list[InferenceResult], tmp_path: Path
) -> None:
    with line_output(bundle, LineTargets(tmp_path / "r")) as line:
        for result in results:
            line.take(result)
    assert recorded_cells(tmp_path / "r") == [CELL]
    found = {Path(record.image).stem: record for record in recorded(tmp_path / "r")}
    assert [found[name].decision for name in "abc"] == ["pass", "reject", "pass"]
    for result, (name, path) in zip(results, images.items(), strict=True):
        record, look = found[name], Look.of(ImageSource.from_path(path).read())
        assert (record.image, record.digest) == (str(path), file_digest(path))
        assert (record.score, record.label) == (result.score, result.label)
        assert record.threshold == bundle.calibration.image_point.threshold
        assert record.review_threshold is None
        assert (record.seconds, record.model) == (result.timings.total, bundle.state.digest())
        assert (record.height, record.width) == look.size
        assert (record.brightness, record.sharpness) == (look.brightness, look.sharpness)
        assert (record.red, record.green, record.blue) == look.colour
    assert (found["a"].picture, found["a"].anomaly_map) == (None, None)
    kept = day_folder(tmp_path / "r", found["b"])
    assert (kept / found["b"].picture).read_bytes() == images["b"].read_bytes()
    assert np.array_equal(tifffile.imread(kept / found["b"].anomaly_map), results[1].anomaly_map)
    assert len(files(tmp_path / "r", "*.parquet")) == 1 and not files(tmp_path / "r", "*.jsonl")
    assert not list((tmp_path / "r/.writers").glob("*.lock"))


def test_what_is_to_be_reviewed_is_kept_too(bundle: Bundle, images: dict[str, Path], tmp_path: Path) -> None:
    known = bundle.calibration
    review = replace(review_from(known.scores, 0.4, known.image_point), threshold=-1.0)
    reviewing = replace(bundle, calibration=replace(known, review_point=review))
    with line_output(reviewing, LineTargets(tmp_path)) as line:
        for result in infer(reviewing, [images["a"]], include_files=True):
            line.take(result)
    (record,) = recorded(tmp_path)
    assert (record.decision, record.review_threshold) == ("review", -1.0)
    assert (day_folder(tmp_path, record) / str(record.picture)).is_file()


def test_no_pictures_where_none_are_asked_for(
    bundle: Bundle, results: list[InferenceResult], tmp_path: Path
) -> None:
    with line_output(bundle, LineTargets(tmp_path, record_mebibytes=0)) as line:
        line.take(results[1])
    (record,) = recorded(tmp_path)
    assert (record.decision, record.picture, record.anomaly_map) == ("reject", None, None)


def test_a_full_disk_is_counted_and_said_once(
    bundle: Bundle,
    results: list[InferenceResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    line = LineOutput(bundle, LineTargets(tmp_path))
    monkeypatch.setattr("uad_orchestrator.inference.records.journal.os.write", full)
    monkeypatch.setattr(kept_images, "new_file", full)
    for _ in range(3):
        line.take(results[1])
    monkeypatch.undo()
    line.take(results[0])
    line.close()
    assert line.dropped.counts()["record"] == 3
    assert [record.decision for record in recorded(tmp_path)] == ["pass"]
    said = [entry.message for entry in caplog.records if entry.message.startswith("a record was dropped")]
    assert len(said) == 1 and "No space left on device" in said[0]


def test_pictures_that_come_too_fast_are_left_out_and_nobody_waits(
    bundle: Bundle, results: list[InferenceResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    keep = kept_images.KeptImages.keep_picture
    monkeypatch.setattr(recorder.KeptImages, "keep_picture", lambda *given: go_on.wait(30) and keep(*given))
    line = LineOutput(bundle, LineTargets(tmp_path))
    for _ in range(recorder.WAITING + 5):
        line.take(results[1])
    assert line.dropped.counts() == {"picture": 5}
    go_on.set()
    line.close()
    found = recorded(tmp_path)
    assert len(found) == recorder.WAITING + 5
    assert (
        len([record for record in found if record.picture])
        == recorder.WAITING
        == len(files(tmp_path, "maps/*"))
    )


def test_two_write_into_one_folder(bundle: Bundle, results: list[InferenceResult], tmp_path: Path) -> None:
    lines = [LineOutput(bundle, LineTargets(tmp_path)) for _ in range(2)]

    def work(line: LineOutput) -> None:
        for _ in range(20):
            line.take(results[0])

    threads = [threading.Thread(target=work, args=(line,)) for line in lines for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorded(tmp_path)) == 80, "from the journals of both"
    for line in lines:
        line.close()
    assert len(recorded(tmp_path)) == 80 and len(files(tmp_path, "*.parquet")) == 2


def test_a_killed_server_loses_no_answer_and_the_next_one_tidies(
    bundle_folder: Path, images: dict[str, Path], tmp_path: Path
) -> None:
    records, defective = tmp_path / "records", images["b"].read_bytes()
    asked = ["--record", str(records)]
    with serving(bundle_folder, tmp_path / "log", *asked) as server:
        scores = [
            json.loads(server.ask("POST", "/infer", path.read_bytes())[1])["score"]
            for path in images.values()
        ]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
    assert len(files(records, "*.jsonl")) == 1 and not files(records, "*.parquet")
    assert [record.score for record in recorded(records)] == scores
    away = ["--webhook", f"http://127.0.0.1:{free_port()}/secret", "--drain-seconds", "2"]
    with serving(bundle_folder, tmp_path / "log2", *asked, *away) as server:
        assert server.ask("POST", "/infer?name=part-4", defective)[0] == 200
        assert b'uad_records_dropped_total{kind="record"} 0.0' in server.ask("GET", "/metrics")[1]
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert server.process.wait(60) in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 10, "within the time to drain, with room for a busy machine"
    assert len(files(records, "*.parquet")) == 2 and not files(records, "*.jsonl")
    last = recorded(records)[-1]
    assert len(recorded(records)) == 4 and last.image == "part-4"
    assert (day_folder(records, last) / str(last.picture)).read_bytes() == defective
    said = (tmp_path / "log2").read_text()
    assert "dropped in all: 1 webhook" in said and "secret" not in said and "Traceback" not in said


@pytest.mark.parametrize(
    "name", ["benchmark", "../etc/x x y", "a/../.. x y", "a/b/c x y", "a/b x ../c", "a/b x c\n"]
)
def test_a_bundle_of_another_name_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="dataset/category x detector"):
        LineOutput(replace(bundle, name=name), LineTargets(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_the_digest_of_a_model_is_that_of_what_it_learnt(bundle: Bundle, tmp_path: Path) -> None:
    state = bundle.state
    state.save(tmp_path)
    assert type(state).load(tmp_path).digest() == state.digest()
    changed = {name: array + 1 if name == "bank" else array for name, array in state.arrays.items()}
    assert replace(state, arrays=changed).digest() != state.digest()
    assert replace(state, facts={**state.facts, "seed": 7}).digest() != state.digest()
