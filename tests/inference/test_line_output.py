"""A result goes to every place that was asked for, as one record."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tests.inference.sending.receivers import Receiver
from uad_orchestrator.inference import Bundle, infer
from uad_orchestrator.inference.line_output import LineOutput, LineTargets, line_output
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.records.record_files import read_day

CELL = ("line7/disc", "patchcore")


def test_what_is_sent_is_what_is_recorded(
    bundle: Bundle, images: dict[str, Path], receiver: Receiver, tmp_path: Path
) -> None:
    with line_output(bundle, LineTargets(tmp_path, webhook=receiver.url)) as line:
        for result in infer(bundle, images.values(), include_files=True):
            line.take(result)
    sent = [LineRecord.from_json(body) for body in receiver.bodies]
    assert sent == read_day(tmp_path, *CELL, sent[0].day) and len(sent) == 3
    assert sent[1].picture is not None and json.dumps(receiver.bodies[1])


def test_results_are_sent_without_a_folder_of_records(
    bundle: Bundle, images: dict[str, Path], receiver: Receiver
) -> None:
    with line_output(bundle, LineTargets(webhook=receiver.url)) as line:
        for result in infer(bundle, [images["b"]], include_files=True):
            line.take(result)
    (body,) = receiver.bodies
    assert (body["decision"], body["picture"], body["anomaly_map"]) == ("reject", None, None)


def test_what_was_dropped_is_summed_up_at_the_end(
    bundle: Bundle, images: dict[str, Path], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers += [400, 404, 410]
    line = LineOutput(bundle, LineTargets(webhook=receiver.url))
    for result in infer(bundle, images.values(), include_files=True):
        line.take(result)
    line.close()
    line.close()
    said = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert said == [
        "a record for --webhook was dropped: the receiver answered 400. Further ones are only counted",
        "dropped in all: 3 webhook",
    ]


def test_nowhere_is_nothing(bundle: Bundle) -> None:
    with line_output(bundle, LineTargets()) as line:
        assert line is None
