"""A webhook gets each record, is tried again while it is away, and never holds a result up."""

from __future__ import annotations

import base64
import logging
import time
from dataclasses import replace

import pytest
import tenacity

from tests.end_to_end.ui_process import free_port, wait_for
from tests.inference.sending.receivers import Receiver
from uad_orchestrator.inference.records.dropped import Dropped
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.sending import webhook
from uad_orchestrator.inference.sending.webhook import Webhook, WebhookAddress

RECORDS = [replace(LineRecord.example(), id=f"{number:032x}") for number in range(5)]


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "wait_random_exponential", lambda **_: tenacity.wait_fixed(0.02))


def opened(url: str) -> Webhook:
    return Webhook(WebhookAddress.parse(url), Dropped())


def test_each_record_arrives_as_it_is_documented(receiver: Receiver) -> None:
    hook = opened(receiver.url.replace("//", "//anna:p%40ss@"))
    for record in RECORDS:
        hook.send(record)
    hook.close(20)
    assert [LineRecord.from_json(body) for body in receiver.bodies] == RECORDS
    assert receiver.paths[0] == "/hook?key=s3cret"
    expected = f"Basic {base64.b64encode(b'anna:p@ss').decode()}"
    assert {headers["Authorization"] for headers in receiver.headers} == {expected}
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert hook.dropped.counts() == {}


def test_one_that_is_busy_is_asked_again_and_one_that_refuses_is_not(receiver: Receiver) -> None:
    receiver.answers += [503, 429, 200, 400, 302]
    hook = opened(receiver.url)
    for record in RECORDS[:4]:
        hook.send(record)
    hook.close(20)
    assert [body["id"] for body in receiver.bodies] == [RECORDS[i].id for i in (0, 0, 0, 1, 2, 3)]
    assert hook.dropped.counts() == {"webhook": 2}, "400, and a redirect that is not followed"


def test_sending_returns_at_once_and_what_does_not_fit_is_counted(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "WAITING", 3)
    receiver.open.clear()
    hook = opened(receiver.url)
    started = time.perf_counter()
    for record in RECORDS:
        hook.send(record)
    assert time.perf_counter() - started < 1
    assert hook.dropped.counts() == {"webhook": 2}
    receiver.open.set()
    hook.close(20)
    assert [body["id"] for body in receiver.bodies] == [record.id for record in RECORDS[:3]]


def test_a_receiver_that_is_away_is_waited_for_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    hook = opened(f"http://user:hidden@127.0.0.1:{free_port()}/secret")
    for record in RECORDS:
        hook.send(record)
    started = time.perf_counter()
    hook.close(0.3)
    assert time.perf_counter() - started < 5
    assert hook.dropped.counts() == {"webhook": 5}
    wait_for(lambda: not hook._thread.is_alive(), 10, "its thread ends")
    assert len(caplog.records) == 1 and caplog.records[0].levelno == logging.WARNING
    assert not any(word in caplog.text + repr(hook.address) for word in ("hidden", "secret", "user"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://secret.example/x",
        "file:///etc/secret",
        "//secret.example",
        "secret.example/hook",
        "http:///secret",
        "http://host:secret/",
        "http://[secret/",
        "http://host/secret\n",
        "http://host/a secret",
        "http://hóst/secret",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="--webhook: expected http:// or https://") as refused:
        WebhookAddress.parse(url)
    assert "secret" not in str(refused.value)


def test_an_address_keeps_all_but_the_password() -> None:
    found = WebhookAddress.parse("https://a:b@[::1]:8443/x/y?z=1#part")
    assert found.url == "https://[::1]:8443/x/y?z=1"
    assert "Authorization" not in WebhookAddress.parse("https://host/").headers
