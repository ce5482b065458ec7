"""The HTTP service: answers, limits, errors, and 50 clients at once over loopback."""

from __future__ import annotations

import base64
import io
import json
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import uvicorn
from starlette.testclient import TestClient

from tests.end_to_end.ui_process import free_port, wait_for
from tests.orchestration.workshop import defective_image, normal_image
from uad_orchestrator.inference import Bundle, infer
from uad_orchestrator.inference.service.http_app import create_app
from uad_orchestrator.inference.service.limits import Limits
from uad_orchestrator.inference.service.request_log import JsonFormatter
from uad_orchestrator.inference.service.request_queue import RequestQueue

CLIENTS = 50


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[TestClient]:
    limits = Limits(body_bytes=200_000, pixels=100 * 100)
    with RequestQueue(bundle.detector()) as requests:
        yield TestClient(create_app(bundle, requests, limits))


def test_a_raw_body_is_an_image(client: TestClient, bundle: Bundle) -> None:
    image = defective_image(3)[0]
    (expected,) = infer(bundle, [image])
    answer = client.post("/infer", content=png(image))
    assert answer.status_code == 200
    assert (answer.json()["score"], answer.json()["label"]) == (expected.score, 1)
    assert answer.json()["regions"] == json.loads(json.dumps([r.to_json() for r in expected.regions]))
    assert answer.json()["threshold"] == bundle.calibration.image_point.threshold
    assert "map" not in answer.json()


def test_an_image_has_a_name_that_tells_it_apart(client: TestClient) -> None:
    body = png(normal_image(900))

    def name(query: str = "", **how: Any) -> str:
        return str(client.post(f"/infer{query}", **how).json()["image"])

    answer = client.post("/infer", content=body)
    assert answer.json()["image"] == answer.headers["X-Request-ID"] != name(content=body)
    assert name(content=body, headers={"X-Request-ID": "part-17"}) == "part-17"
    assert name("?name=part%2018.png", content=body) == "part 18.png"
    file = {"file": ("cam.png", body, "image/png")}
    assert (name(files=file), name("?name=part-19", files=file)) == ("cam.png", "part-19")
    for blank in ("", "%20"):
        assert name(f"?name={blank}", content=body, headers={"X-Request-ID": "part-20"}) == "part-20"


def test_a_form_has_one_file(client: TestClient) -> None:
    files = {"file": ("../../etc/passwd", png(normal_image(900)), "image/png")}
    answer = client.post("/infer", files=files)
    assert (answer.status_code, answer.json()["label"]) == (200, 0), answer.text
    two = [("file", ("a.png", b"x")), ("file", ("b.png", b"x"))]
    assert client.post("/infer", files=two).status_code == 400
    assert client.post("/infer", data={"path": "/etc/passwd"}).status_code in (400, 415)


@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_the_map_comes_along(client: TestClient, bundle: Bundle, kind: str) -> None:
    image = defective_image(3)[0]
    (expected,) = infer(bundle, [image])
    found = client.post(f"/infer?map={kind}", content=png(image)).json()["map"]
    data = base64.b64decode(found["base64"])
    if kind == "tiff":
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), expected.anomaly_map)
        return
    steps = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert steps.dtype == np.uint16
    low, high = found["value_of_0"], found["value_of_65535"]
    assert np.allclose(low + steps / 65535 * (high - low), expected.anomaly_map, atol=(high - low) / 65535)


@pytest.mark.parametrize(
    ("body", "query", "status", "said"),
    [
        (b"", "", 400, "empty"),
        (b"no image", "", 415, "not an image"),
        (png(normal_image(1))[:-30], "", 422, "cut short"),
        (b"\0" * 200_001, "", 413, "larger than 200000 bytes"),
        (png(np.zeros((101, 100, 3), np.uint8)), "", 413, "101 x 100 pixels"),
        (png(normal_image(1)), "?map=gif", 400, "map=gif"),
        (b"/etc/passwd", "", 415, "not an image"),
    ],
)
def test_errors_are_json(client: TestClient, body: bytes, query: str, status: int, said: str) -> None:
    answer = client.post(f"/infer{query}", content=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_a_body_of_unknown_length_is_limited_too(client: TestClient) -> None:
    chunks = (b"\0" * 1000 for _ in range(1000))
    assert client.post("/infer", content=chunks).status_code == 413


def test_what_is_not_there_is_json_too(client: TestClient) -> None:
    assert "error" in client.get("/nothing").json()
    opened = client.get("/infer")  # as a browser does with the address that was printed
    assert opened.status_code == 405
    assert (
        opened.json()["error"] == "Method Not Allowed: POST an image file to /infer; GET /health or /metrics"
    )


def test_it_goes_on_after_an_image_the_detector_can_not_take(client: TestClient) -> None:
    assert client.post("/infer", content=png(normal_image(1))[:-30]).status_code == 422
    assert client.post("/infer", content=png(normal_image(1))).status_code == 200


def test_health_and_metrics(client: TestClient, bundle: Bundle) -> None:
    client.post("/infer", content=png(normal_image(2)))
    health = client.get("/health").json()
    assert (health["status"], health["bundle"]) == ("ok", bundle.name)
    text = client.get("/metrics").text
    assert 'uad_requests_total{status="200"}' in text
    assert 'uad_images_total{label="normal"}' in text
    assert "uad_requests_under_way 0.0" in text


def test_more_than_are_taken_at_once_are_told_to_come_again(bundle: Bundle) -> None:
    app = create_app(bundle, RequestQueue(bundle.detector()), Limits(requests=0))
    answer = TestClient(app).post("/infer", content=png(normal_image(1)))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_health_knows_that_the_worker_has_ended(bundle: Bundle) -> None:
    with RequestQueue(bundle.detector()) as requests:
        client = TestClient(create_app(bundle, requests))
        assert client.get("/health").status_code == 200
    answer = client.get("/health")
    assert (answer.status_code, "start the service again" in answer.json()["status"]) == (503, True)
    answer = client.post("/infer", content=png(normal_image(1)))
    assert (answer.status_code, "start the service again" in answer.json()["error"]) == (503, True)


def test_bodies_under_way_have_a_limit_together(bundle: Bundle) -> None:
    with RequestQueue(bundle.detector()) as requests:
        client = TestClient(create_app(bundle, requests, Limits(held_bytes=100_000)))
        assert client.post("/infer", content=b"x" * 60_000).status_code == 415
        answer = client.post("/infer", content=b"x" * 100_001)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.post("/infer", content=b"x" * 60_000).status_code == 415, "held no longer"


def test_a_fault_is_told_with_its_request(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("uad_orchestrator.inference.service.http_app.encoded_source", lambda *_: 1 / 0)
    answer = client.post("/infer", content=png(normal_image(1)), headers={"X-Request-ID": "part-7"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "part-7")
    assert "ZeroDivisionError" in caplog.text
    values = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert (values["request_id"], values["status"], values["level"]) == ("part-7", 500, "error")
    assert "ZeroDivisionError" in values["exception"]


@pytest.fixture(scope="module")
def address(bundle: Bundle) -> Iterator[str]:
    """A real server on a port of this machine."""
    port = free_port()
    with RequestQueue(bundle.detector()) as requests:
        app = create_app(bundle, requests)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_for(lambda: server.started, 60, "the server listens")
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(30)


def test_fifty_clients_at_once_get_their_own_answers(address: str, bundle: Bundle, tmp_path: Path) -> None:
    images = [defective_image(seed)[0] if seed % 2 else normal_image(seed) for seed in range(CLIENTS)]
    expected = [result.score for result in infer(bundle, images)]
    start = threading.Barrier(CLIENTS)

    def ask(image: np.ndarray) -> float:
        start.wait(60)
        request = urllib.request.Request(f"{address}/infer", png(image), method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["score"]

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(ask, images)) == expected
