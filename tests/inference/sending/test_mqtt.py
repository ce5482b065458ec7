"""An MQTT broker gets each record, also those from before it was there. The broker is mosquitto."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.end_to_end.ui_process import free_port, wait_for
from tests.inference.sending.receivers import Broker
from uad_orchestrator.inference.records.dropped import Dropped
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.sending import mqtt
from uad_orchestrator.inference.sending.mqtt import Mqtt, MqttAddress

RECORDS = [replace(LineRecord.example(), id=f"{number:032x}") for number in range(4)]
TOPIC = "line7/results"


@contextmanager
def listening(broker: Broker) -> Iterator[list[LineRecord]]:
    """What a subscriber of the topic gets."""
    from paho.mqtt.client import CallbackAPIVersion, Client

    found: list[LineRecord] = []
    subscribed = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("line", "right one")
    client.on_connect = lambda *_: client.subscribe(TOPIC, qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _, __, message: found.append(LineRecord.from_json(json.loads(message.payload)))
    client.connect_async("127.0.0.1", broker.port)
    client.reconnect_delay_set(1, 1)
    client.loop_start()
    try:
        assert subscribed.wait(20)
        yield found
    finally:
        client.disconnect()
        client.loop_stop()


def test_records_from_before_and_after_a_broker_was_away(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("right one\n")
    known = {mqtt.USER: "line", mqtt.PASSWORD_FILE: str(tmp_path / "password")}
    sender = Mqtt(MqttAddress("127.0.0.1", broker.port, TOPIC), Dropped(), known)
    started = time.perf_counter()
    sender.send(RECORDS[0])
    assert time.perf_counter() - started < 1
    broker.start()
    with listening(broker) as found:
        for record in RECORDS[1:]:
            sender.send(record)
        sender.close(20)
        wait_for(lambda: len(found) >= 4 or sender._delivered < 4, 20, "all arrive")
        assert sorted(found, key=lambda record: record.id)[-3:] == RECORDS[1:]
    assert sender.dropped.counts() == {} and sender._delivered == 4


def test_tls_asks_for_a_certificate_that_is_trusted(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker.start(tls=True)
    address = MqttAddress.parse(f"mqtts://127.0.0.1:{broker.port}/{TOPIC}")
    known = {mqtt.USER: "line", mqtt.PASSWORD: "right one"}  # pragma: allowlist secret
    counts = []
    for trusted in (False, True):
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(broker.certificate))
        sender = Mqtt(address, Dropped(), known)
        sender.send(RECORDS[0])
        sender.close(20 if trusted else 1)
        counts.append(sender.dropped.counts())
    assert counts == [{"mqtt": 1}, {}]
    assert "can be read on the network" not in caplog.text


def test_a_wrong_password_is_said(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    broker.start()
    known = {mqtt.USER: "line", mqtt.PASSWORD: "wr0ng"}  # pragma: allowlist secret
    sender = Mqtt(MqttAddress("127.0.0.1", broker.port, TOPIC), Dropped(), known)
    sender.send(RECORDS[0])
    wait_for(lambda: "refuses" in caplog.text, 20, "it is said")
    sender.close(0.1)
    assert sender.dropped.counts() == {"mqtt": 1}
    assert "can be read on the network" in caplog.text and "wr0ng" not in caplog.text


def test_a_broker_that_is_away_costs_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "WAITING", 2)
    sender = Mqtt(MqttAddress("127.0.0.1", free_port(), TOPIC), Dropped(), {})
    for record in RECORDS:
        sender.send(record)
    assert sender.dropped.counts() == {"mqtt": 2}
    started = time.perf_counter()
    sender.close(0.2)
    assert time.perf_counter() - started < 2
    assert sender.dropped.counts() == {"mqtt": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("broker/line7/results", ("broker", 1883, "line7/results", False)),
        ("broker:1884/x", ("broker", 1884, "x", False)),
        ("mqtts://[::1]/a/b", ("::1", 8883, "a/b", True)),
        ("mqtts://broker:1/a?b", ("broker", 1, "a?b", True)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int, str, bool]) -> None:
    assert MqttAddress.parse(text) == MqttAddress(*expected)


@pytest.mark.parametrize(
    "text",
    ["broker", "broker/", "/topic", "broker/a/#", "broker/+/a", "http://broker/a", "broker:x/a", "b/a\n"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"--mqtt: .* is no HOST/TOPIC"):
        MqttAddress.parse(text)


def test_a_password_is_no_part_of_an_address() -> None:
    with pytest.raises(ValueError, match="UAD_MQTT_USER") as refused:
        MqttAddress.parse("mqtts://anna:hidden@broker/x")  # pragma: allowlist secret
    assert "hidden" not in str(refused.value)
