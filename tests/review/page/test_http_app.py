"""The page's application: what it shows and takes, and whom it refuses."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.review.line import CATEGORY, DETECTOR, plain_filing, record_image
from uad_orchestrator.images.reading_settings import PLAIN_READING
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale
from uad_orchestrator.review.category_review import CategoryReview
from uad_orchestrator.review.judgement import Judged
from uad_orchestrator.review.outcome import CellOutcome, ScoreNow, decided_again
from uad_orchestrator.review.page.http_app import LARGEST_BODY, create_page
from uad_orchestrator.review.page.page_access import page_address
from uad_orchestrator.review.review import Review
from uad_orchestrator.review.stopped import StoppedRecords

TOKEN = "a-token-of-this-page"
ORIGIN = "http://127.0.0.1:8765"


def decided(judged: Mapping[str, Sequence[Judged]]) -> list[CellOutcome]:
    """Every image scores 0.1 now."""

    def score(images: list[Judged]) -> list[ScoreNow]:
        return [ScoreNow(0.1) for _ in images]

    return [decided_again(CATEGORY, DETECTOR, judged[CATEGORY], score, 0.5, None)]


@pytest.fixture
def review(tmp_path: Path) -> Review:
    """Three images of a line, the newest of a defect; two of one detector, one of two."""
    records = tmp_path / "records"
    record_image(records, 1, score=0.9, warnings=["dark"])
    record_image(records, 2, score=0.7, decision="review", review_threshold=None)
    record_image(records, 3, score=0.8, defective=True)
    record_image(records, 4, seed=303, defective=True, detector="dino", anomaly_map=None)
    cells = [(CATEGORY, DETECTOR), (CATEGORY, "dino")]
    filing = plain_filing(tmp_path)
    return Review(
        by="anna",
        stopped=StoppedRecords(records, cells),
        categories={CATEGORY: CategoryReview(records, CATEGORY, lambda: filing)},
        reading=lambda category: PLAIN_READING,
        colours=lambda category, detector: HeatmapScale(0.1, 0.5),
        outcomes=decided,
    )


@pytest.fixture
def client(review: Review) -> TestClient:
    client = TestClient(create_page(review, TOKEN), base_url=ORIGIN)
    assert client.get(page_address("127.0.0.1", 8765, TOKEN)).status_code == 200
    return client


def waiting(client: TestClient, **options: str) -> list[dict]:
    return client.get("/api/waiting", params=options).json()["images"]


def judge(client: TestClient, image: dict, verdict: str, **more: object):
    said = {"category": image["category"], "digest": image["digest"], "verdict": verdict} | more
    return client.post("/api/judgements", json=said)


def test_the_queue_is_newest_first_or_by_score(client):
    images = waiting(client)
    assert [image["image"] for image in images] == ["cam-4.png", "cam-2.png", "cam-1.png"]
    assert [record["detector"] for record in images[0]["records"]] == ["dino", "patchcore"]
    assert [record["map"] for record in images[0]["records"]] == [False, True]
    assert images[2]["records"][0]["warnings"] == ["dark"]
    assert images[1]["records"][0]["review_threshold"] is None
    by_score = [image["records"][-1]["score"] for image in waiting(client, order="score")]
    assert sorted(by_score[:2], reverse=True) == [0.9, 0.8] and by_score[2] == 0.7


def test_judging_and_undoing(client, tmp_path):
    image = waiting(client)[0]
    made = judge(client, image, "defect", defect_type="scratch")
    assert made.status_code == 201, made.text
    (file,) = (tmp_path / "data/disc/test/scratch").iterdir()
    assert made.json()["became"] == f"lies at {file}"
    assert len(waiting(client)) == 2
    (listed,) = client.get("/api/judged").json()["judged"]
    assert (listed["by"], listed["verdict"], listed["defect_type"]) == ("anna", "defect", "scratch")
    assert listed["record"] in {record["id"] for record in image["records"]}
    second = judge(client, image, "normal")
    assert second.status_code == 409 and "judged defect (scratch) by anna" in second.json()["error"]
    undone = client.post("/api/undo", json={"category": CATEGORY, "id": listed["id"]})
    assert undone.status_code == 200 and "undone by anna" in undone.json()["became"]
    assert not file.exists() and len(waiting(client)) == 3
    again = client.post("/api/undo", json={"category": CATEGORY, "id": listed["id"]})
    assert again.status_code == 422 and "already" in again.json()["error"]


def test_pictures_are_shown_with_and_without_the_map(client):
    image = waiting(client)[0]
    dino, patchcore = (record["id"] for record in image["records"])
    plain, mapped = (pixels(client.get(f"/{kind}/{patchcore}")) for kind in ("pictures", "maps"))
    assert plain.shape == mapped.shape == (64, 64, 3)
    changed = np.abs(plain.astype(int) - mapped).max(axis=2) > 60
    assert changed[24:39, 24:41].any() and not changed[:16].any(), "where the scratch is, and nowhere else"
    missing = client.get(f"/maps/{dino}")
    assert missing.status_code == 404 and "no anomaly map" in missing.json()["error"]


def pixels(answer) -> np.ndarray:
    assert answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_types_and_refusals_are_told(client, review):
    judge(client, waiting(client)[0], "defect", defect_type="oil")
    told = client.get("/api/categories").json()
    assert told == {
        "by": "anna",
        "categories": [{"category": CATEGORY, "types": ["oil", "scratch"], "refusals": {}}],
    }


def test_since_recalibration_is_counted(client):
    judge(client, waiting(client)[0], "normal")
    (cell,) = client.get("/api/since").json()["cells"]
    assert cell["false_alarms_passed"] == {"count": 1, "of": 1}


def test_a_picture_that_is_gone_is_said(client, review):
    image = waiting(client)[1]
    record = review.stopped.find(image["records"][0]["id"])
    assert record is not None
    path = review.stopped.picture(record)
    assert path is not None
    path.unlink()
    assert client.get(f"/pictures/{record.id}").status_code == 404
    assert judge(client, image, "normal").status_code == 404
    found = client.get("/api/waiting").json()
    assert (found["total"], found["without_picture"]) == (2, 1)


def test_a_disk_that_fails_is_said_in_words(client, review, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("uad_orchestrator.review.filing.shutil.copyfile", full)
    answer = judge(client, waiting(client)[0], "normal")
    assert answer.status_code == 500 and "No space left" in answer.json()["error"]
    monkeypatch.undo()
    assert len(waiting(client)) == 2, "the judgement is noted"
    assert review.complete() == []
    (listed,) = client.get("/api/judged").json()["judged"]
    assert "arriving/disc" in listed["became"]


# Who is refused.


def test_without_the_token_nothing_is_shown(review):
    stranger = TestClient(create_page(review, TOKEN), base_url=ORIGIN)
    for path in (
        "/",
        "/review.js",
        "/api/waiting",
        "/pictures/x",
        "/?token=guess",
        "/api/waiting?token=" + TOKEN,
    ):
        assert stranger.get(path).status_code == 403, path
    said = {"category": CATEGORY, "digest": "d", "verdict": "unsure"}
    assert stranger.post("/api/judgements", json=said).status_code == 403


def test_the_cookie_is_for_this_page_alone(review):
    stranger = TestClient(create_page(review, TOKEN), base_url=ORIGIN, follow_redirects=False)
    answer = stranger.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert TOKEN not in stranger.get("/").text


def test_another_host_name_is_refused(client):
    assert client.get("/api/waiting", headers={"Host": "evil.example:8765"}).status_code == 400
    assert client.get("/api/waiting", headers={"Host": "localhost:8765"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_can_neither_judge_nor_look(client, headers):
    image = waiting(client)[0]
    said = {"category": CATEGORY, "digest": image["digest"], "verdict": "normal"}
    assert client.post("/api/judgements", json=said, headers=headers).status_code == 403
    assert client.get("/api/waiting", headers=headers).status_code == 403
    own = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/judgements", json=said, headers=own).status_code == 201


def test_a_form_cannot_judge(client):
    image = waiting(client)[0]
    answer = client.post("/api/judgements", data={"digest": image["digest"], "verdict": "normal"})
    assert answer.status_code == 415
    large = client.post(
        "/api/judgements", content=b" " * (LARGEST_BODY + 1), headers={"Content-Type": "application/json"}
    )
    assert large.status_code == 413


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"digest": "0" * 64}, 404, "no picture is kept"),
        ({"category": "../../etc"}, 404, "no category"),
        ({"verdict": "fine"}, 400, "verdict"),
        ({"verdict": "defect", "defect_type": "../../../evil"}, 422, "cannot be a type of defect"),
        ({"verdict": "defect"}, 422, "a defect has a type"),
        ({"by": "somebody else"}, 400, "by"),
        ({"defect_type": 7}, 400, "defect_type"),
    ],
)
def test_what_cannot_be_judged_is_refused(client, tmp_path, changes, status, said):
    image = waiting(client)[0]
    body = {"category": CATEGORY, "digest": image["digest"], "verdict": "normal"} | changes
    answer = client.post("/api/judgements", json=body)
    assert answer.status_code == status and said in answer.json()["error"]
    assert not (tmp_path / "data").exists() and len(waiting(client)) == 3


@pytest.mark.parametrize("record", ["f" * 32, "..%2f..%2fuad.yaml", "%00"])
def test_a_record_that_nobody_knows_is_not_there(client, record):
    for kind in ("pictures", "maps"):
        assert client.get(f"/{kind}/{record}").status_code == 404


def test_nothing_is_loaded_from_elsewhere(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in ("/", "/review.css", "/review.js"):
        text = client.get(path).text
        assert "http://" not in text and "https://" not in text
    assert "innerHTML" not in client.get("/review.js").text, "names come from records: text, never markup"
