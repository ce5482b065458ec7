"""What waits: one card per image, in two orders, and never a file outside the records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.review.line import CATEGORY, DETECTOR, record_image
from tests.review.test_judgement_file import judgement
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.review.judgement import Judged
from uad_orchestrator.review.stopped import StoppedImage, StoppedRecords, images_of, waiting

CELL = (CATEGORY, DETECTOR)


def test_an_image_that_two_detectors_stopped_is_one(tmp_path):
    record_image(tmp_path, 1, seed=5, score=0.6, decision="review")
    record_image(tmp_path, 2, seed=5, detector="dino", score=0.9)
    record_image(tmp_path, 3, seed=5, score=0.7)
    record_image(tmp_path, 4)
    stopped = StoppedRecords(tmp_path, [CELL, (CATEGORY, "dino")])
    newest, twice = stopped.images()
    assert newest.newest.image == "cam-4.png"
    assert [(record.detector, record.score) for record in twice.records] == [
        ("patchcore", 0.7),
        ("dino", 0.9),
    ]
    assert {name: stop.score for name, stop in twice.stops().items()} == {"patchcore": 0.7, "dino": 0.9}


def test_what_passed_or_lost_its_picture_does_not_wait(tmp_path):
    record_image(tmp_path, 1, decision="pass")
    record_image(tmp_path, 2, decision=None)
    record_image(tmp_path, 3, picture=None)
    lost = record_image(tmp_path, 4)
    kept = record_image(tmp_path, 5, anomaly_map=None)
    stopped = StoppedRecords(tmp_path, [CELL])
    path = stopped.picture(lost)
    assert path is not None
    path.unlink()
    assert [image.newest.id for image in stopped.images()] == [kept.id]
    assert stopped.anomaly_map(kept) is None
    assert {record.id for record in stopped.read()} == {f"{n:032x}" for n in (3, 4, 5)}


def test_a_day_that_grew_is_read_again(tmp_path):
    record_image(tmp_path, 1)
    stopped = StoppedRecords(tmp_path, [CELL])
    assert len(stopped.images()) == 1
    record_image(tmp_path, 2)
    assert len(stopped.images()) == 2
    assert stopped.find("f" * 32) is None


@pytest.mark.parametrize(
    "name",
    ["../../../../secret.png", "/etc/passwd", "pictures/../../2026-11-27/x.png", "pictures/" + 300 * "x"],
)
def test_no_name_leads_out_of_the_day(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"x")
    record = record_image(tmp_path / "records", 1, picture=name)
    good = record_image(tmp_path / "records", 2)
    stopped = StoppedRecords(tmp_path / "records", [CELL])
    assert stopped.picture(record) is None
    assert [image.newest.id for image in stopped.images()] == [good.id], "the others are reviewed as ever"


def test_a_record_of_another_cell_in_the_folder_is_passed_over(tmp_path):
    own = record_image(tmp_path, 1)
    folder = tmp_path / CATEGORY / DETECTOR / own.day
    text = (folder / "journal.jsonl").read_text()
    (folder / "journal.jsonl").write_text(
        text + text.replace(CATEGORY, "../../etc").replace(own.id, "f" * 32)
    )
    assert [record.id for record in StoppedRecords(tmp_path, [CELL]).read()] == [own.id]


def record(number: int, detector: str, score: float) -> LineRecord:
    made = replace(LineRecord.example(), id=f"{number:032x}", digest=f"d{number}", detector=detector)
    return replace(made, score=score, category=CATEGORY)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(-5, 5)), unique=True, max_size=12))
def test_by_score_each_detector_keeps_its_order_whatever_its_scale(found):
    images = images_of(
        record(n, name, score * (1000 if name == "b" else 1)) for n, (name, score) in enumerate(found)
    )
    ordered = waiting(images, {}, "score")
    assert {image.digest for image in ordered} == {image.digest for image in images}
    for name in ("a", "b"):
        scores = [image.newest.score for image in ordered if image.newest.detector == name]
        assert scores == sorted(scores, reverse=True)
    firsts = {image.newest.detector for image in ordered[:2]}
    assert len(firsts) == min(2, len({name for name, _ in found})), "the first of each comes first"


def test_an_image_counts_by_the_detector_that_finds_it_most_anomalous():
    scores = {"a": {0: 0.9, 1: 0.8, 2: 0.1}, "b": {1: 3.0, 2: 9.0}}
    images = images_of(record(n, name, score) for name, of in scores.items() for n, score in of.items())
    assert [image.digest for image in waiting(images, {}, "score")][-1] == "d1", (
        "second of both; the others lead one"
    )


def test_judged_images_wait_no_more():
    images = [StoppedImage(CATEGORY, f"d{n}", (record(n, "a", n),)) for n in range(3)]
    judged = {
        CATEGORY: {"d1": Judged(judgement("j1", "d1"))},
        "other/disc": {"d2": Judged(judgement("j2", "d2"))},
    }
    assert [image.digest for image in waiting(images, judged)] == ["d0", "d2"]
