"""Records to an MQTT broker, with QoS 1; the connection is made, and made again, in the background."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from uad_orchestrator.extras import require_extra
from uad_orchestrator.inference.records.dropped import Dropped
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.storage.regular_file import read_regular

if TYPE_CHECKING:
    from paho.mqtt.client import Client

logger = logging.getLogger(__name__)

WAITING = 1000
"""Records that wait at most for the broker, some 1 KB each; more are dropped."""

LONGEST_WAIT = 30
"""Seconds between two tries to connect, at most; the first is 1."""

PORTS = {"mqtt": 1883, "mqtts": 8883}
LONGEST_TOPIC = 65535
USER, PASSWORD, PASSWORD_FILE = (
    "UAD_MQTT_USER",
    "UAD_MQTT_PASSWORD",
    "UAD_MQTT_PASSWORD_FILE",
)  # pragma: allowlist secret


@dataclass(frozen=True)
class MqttAddress:
    """A broker and the topic there.

    Attributes:
        host, port: of the broker.
        topic: without wildcards.
        tls: whether the connection is encrypted, and the broker's certificate checked.
    """

    host: str
    port: int
    topic: str
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> MqttAddress:
        """An address as it is given: ``[mqtts://]HOST[:PORT]/TOPIC``; ports are 1883, with TLS 8883, by default.

        Raises:
            ValueError: it is none, or has a user in it; what was a password is not repeated.

        >>> MqttAddress.parse("broker.example/line7/results")
        MqttAddress(host='broker.example', port=1883, topic='line7/results', tls=False)
        """
        scheme, _, rest = text.partition("://") if "://" in text else ("mqtt", "", text)
        place, _, topic = rest.partition("/")
        if "@" in place:
            raise ValueError(
                f"--mqtt: user and password are never part of it: set {USER} and {PASSWORD} (or {PASSWORD_FILE})"
            )
        try:
            host, port = (parts := urlsplit(f"//{place}")).hostname, parts.port
        except ValueError:
            host = port = None
        fit = topic.isprintable() and not set(topic) & {"+", "#"} and 0 < len(topic.encode()) <= LONGEST_TOPIC
        if scheme not in PORTS or not host or not fit:
            raise ValueError(
                f"--mqtt: {text!r} is no HOST/TOPIC, HOST:PORT/TOPIC or mqtts://HOST/TOPIC with a topic without "
                "wildcards (+ and #)"
            )
        return cls(host, port or PORTS[scheme], topic, scheme == "mqtts")


class Mqtt:
    """Publishes each record as ``LineRecord.to_json``, with QoS 1: it may come twice, its ``id`` tells.

    Args:
        address: where to.
        dropped: where is counted what was not sent.
        environment: where user and password stand.

    Raises:
        ImportError: the extra ``line`` is not installed.
        OSError: the password's file cannot be read.
    """

    def __init__(
        self, address: MqttAddress, dropped: Dropped, environment: Mapping[str, str] = os.environ
    ) -> None:
        require_extra("paho", extra="line", what="--mqtt")
        self.address = address
        self.dropped = dropped
        self._sent = self._delivered = 0
        self._changed = threading.Condition()
        self._client = self._connecting(environment)

    def send(self, record: LineRecord) -> None:
        """Queue a record; returns at once."""
        from paho.mqtt.client import MQTT_ERR_QUEUE_SIZE

        message = json.dumps(record.to_json(), allow_nan=False)
        with self._changed:
            self._sent += 1
        if self._client.publish(self.address.topic, message, qos=1).rc == MQTT_ERR_QUEUE_SIZE:
            with self._changed:
                self._sent -= 1
            self.dropped.add("mqtt", f"{WAITING} wait already: the broker is away, or slower than the line")

    def close(self, seconds: float) -> None:
        """Wait until the broker has what was sent, as far as there is time; the rest is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self._delivered >= self._sent, seconds)
            left = self._sent - self._delivered
        self._client.disconnect()
        if left:
            self.dropped.add("mqtt", f"the broker did not have them within {seconds:.0f} s at the end", left)

    def _connecting(self, environment: Mapping[str, str]) -> Client:
        from paho.mqtt.client import CallbackAPIVersion, Client

        client = Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(WAITING)
        client.reconnect_delay_set(1, LONGEST_WAIT)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        if user := environment.get(USER):
            client.username_pw_set(user, _password(environment))
            if not self.address.tls:
                logger.warning("without mqtts:// the password for the MQTT broker can be read on the network")
        if self.address.tls:
            client.tls_set()
        client.connect_async(self.address.host, self.address.port)
        client.loop_start()
        return client

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            logger.warning("the MQTT broker refuses: %s", reason)

    def _on_publish(self, client: Client, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._delivered += 1
            self._changed.notify()


def _password(environment: Mapping[str, str]) -> str | None:
    file = environment.get(PASSWORD_FILE)
    return environment.get(PASSWORD) if file is None else read_regular(Path(file)).decode().strip()
