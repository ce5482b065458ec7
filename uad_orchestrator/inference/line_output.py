"""Where results of a line go besides their answer: records in a folder, and whoever asked to be told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.inference.records.dropped import Dropped
from uad_orchestrator.inference.records.line_model import LineModel
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.records.recorder import Recorder
from uad_orchestrator.inference.results import InferenceResult

MEBIBYTE = 2**20
CLOSE_SECONDS = 20.0


@dataclass(frozen=True)
class LineTargets:
    """Where results go.

    Attributes:
        records: the folder of records; None: nothing is recorded.
        record_mebibytes: of all pictures and maps that are kept in it; 0: none.
        webhook: the address that each is posted to.
        mqtt: the broker and topic that each is published to.
    """

    records: Path | None = None
    record_mebibytes: float = 1024
    webhook: str | None = field(default=None, repr=False)
    mqtt: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether they go anywhere."""
        return any(place is not None for place in (self.records, self.webhook, self.mqtt))


class Sender(Protocol):
    """Takes records to somebody who asked to be told, in a thread of its own."""

    def send(self, record: LineRecord) -> None:
        """Queue a record; returns at once."""

    def close(self, seconds: float) -> None:
        """Send what waits, as far as there is time; the rest is dropped."""


@contextmanager
def line_output(bundle: Bundle, settings: LineTargets) -> Iterator[LineOutput | None]:
    """What takes the results of a bundle, closed at the block's end; None where they go nowhere.

    Raises:
        BundleError, ValueError, ImportError, OSError: as ``LineOutput``.
    """
    if not settings.wanted:
        yield None
        return
    line = LineOutput(bundle, settings)
    try:
        yield line
    finally:
        line.close()


class LineOutput:
    """Takes each result of a bundle; safe with several threads. Call ``close`` at the end.

    Args:
        bundle: what gives the results.
        settings: where they go.

    Raises:
        BundleError: its name does not say the cell.
        ValueError: an address is none.
        ImportError: the extra ``line`` is needed.
        OSError: the folder of records cannot be written.
    """

    def __init__(self, bundle: Bundle, settings: LineTargets) -> None:
        self.dropped = Dropped()
        self._closed = False
        self._model = LineModel.of(bundle)
        self._senders = _senders(settings, self.dropped)
        self._recorder: Recorder | None = None
        if settings.records is not None:
            cell = self._model.category, self._model.detector
            kept = int(settings.record_mebibytes * MEBIBYTE)
            self._recorder = Recorder(settings.records, cell, kept, self.dropped)

    def take(self, result: InferenceResult) -> None:
        """Record and send a result, with ``file`` and ``look``; what goes wrong is counted, never raised."""
        record = self._model.record(result)
        if self._recorder is not None:
            record = self._recorder.add(record, result)
        for sender in self._senders:
            sender.send(record)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write and send what waits, as far as there is time for it."""
        if self._closed:
            return
        self._closed = True
        ends = time.monotonic() + seconds
        for part in (self._recorder, *self._senders):
            if part is not None:
                part.close(max(0.0, ends - time.monotonic()))
        self.dropped.sum_up()


def _senders(settings: LineTargets, dropped: Dropped) -> list[Sender]:
    """Those that are asked for; they connect later."""
    from uad_orchestrator.inference.sending.mqtt import Mqtt, MqttAddress
    from uad_orchestrator.inference.sending.webhook import Webhook, WebhookAddress

    webhook = None if settings.webhook is None else WebhookAddress.parse(settings.webhook)
    mqtt = None if settings.mqtt is None else MqttAddress.parse(settings.mqtt)
    found: list[Sender] = []
    if mqtt is not None:
        found.append(Mqtt(mqtt, dropped))
    if webhook is not None:
        found.append(Webhook(webhook, dropped))
    return found
