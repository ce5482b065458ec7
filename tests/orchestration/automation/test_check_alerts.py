"""A check that turns is told of once, whatever happens to the daemon; each receiver gets it by itself."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pytest

from tests.inference.records.made_up import made_records
from tests.inference.records.test_health import NORMALS
from tests.orchestration.workshop import Workshop, normal_image, write_image
from uad_orchestrator.inference.records.health import DayOfRecords, health_of
from uad_orchestrator.inference.records.record_files import cell_folder
from uad_orchestrator.orchestration.assets.line_partitions import day_key
from uad_orchestrator.orchestration.automation import check_alerts
from uad_orchestrator.orchestration.automation.alert_message import alert_of
from uad_orchestrator.orchestration.automation.check_alerts import RESULT_TAG, Known
from uad_orchestrator.orchestration.cells.line_day import health_file
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.dagster_instance.check_events import Evaluation, evaluation
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.storage.atomic import write_text

NUMBERS = itertools.count()
CELL, DAY = Cell("alpha/disc", "patchcore"), "2026-11-26"


@dataclass
class Receiver:
    """A local web server that keeps what is posted to it."""

    url: str
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.answers.pop(0) if found.answers else 200
            if status == 200:
                found.got.append(json.loads(body))
                found.headers.append(dict(self.headers))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", found.url + "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


class Alerts:
    """A project with receivers; results of checks as runs leave them, ticks, and the runs that ticks ask for."""

    def __init__(
        self, workshop: Workshop, instance: dg.DagsterInstance, receivers: Sequence[dict[str, Any]]
    ) -> None:
        self.prefix = f"line{next(NUMBERS)}"

        def change(values: dict[str, Any]) -> None:
            values["detectors"] = {"patchcore": values["detectors"]["patchcore"]}
            values["line"] = {"records": "records", "start": "2026-11-01"}
            values["dagster"] = {"key_prefix": self.prefix}
            values["automation"] = {"alerts": list(receivers), "ui": "http://line7:3000/"}

        workshop.edit(change)
        self.workshop, self.instance = workshop, instance
        self.definitions = build_definitions(workshop.project)
        self.cursor: str | None = None
        self.keys: set[str] = set()

    def result(
        self, check: str, passed: bool, day: str = DAY, *, decided: bool = True, asset: str = "line_health"
    ) -> None:
        partition = str(day_key(CELL, day)) if asset == "line_health" else CELL.key
        found = dg.AssetCheckEvaluation(
            dg.AssetKey([self.prefix, asset]),
            check,
            passed,
            severity=dg.AssetCheckSeverity.WARN,
            description="brightness up by 3.1 spreads",
            metadata={"decided": decided, "brightness_ks": 0.8, "brightness_p": float("nan")},
            partition=partition,
        )
        event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", "line", event_specific_data=found)
        run = self.instance.add_run(dg.DagsterRun(job_name="line"))
        self.instance.report_dagster_event(event, run_id=run.run_id)

    def tick(self) -> list[dg.RunRequest]:
        """As the daemon does it: a run key that was there before makes no run."""
        with dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=self.definitions, sensor_name="check_alerts"
        ) as context:
            found = self.definitions.resolve_sensor_def("check_alerts").evaluate_tick(context)
        self.cursor = found.cursor
        fresh = [request for request in found.run_requests if request.run_key not in self.keys]
        self.keys |= {str(request.run_key) for request in fresh}
        return fresh

    def turns(self) -> list[tuple[str, bool, str]]:
        """The checks a tick asks to be told of, each with its result and day."""
        found = [self.result_of(request) for request in self.tick()]
        return [(one.key.name, one.passed, str(one.partition).partition("|")[2]) for one in found]

    def result_of(self, request: dg.RunRequest) -> Evaluation:
        values = json.loads(request.tags[RESULT_TAG])
        key = dg.AssetCheckKey(dg.AssetKey([self.prefix, values["asset"]]), values["check"])
        found = evaluation(self.instance, key, values["partition"], values["number"])
        assert found is not None
        return found

    def told(self) -> list[dg.ExecuteInProcessResult]:
        """The runs of a tick."""
        return [self.run(request.tags[RESULT_TAG]) for request in self.tick()]

    def run(self, tag: str) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def("alert").execute_in_process(
            instance=self.instance,
            tags={RESULT_TAG: tag},
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def events(self, result: dg.ExecuteInProcessResult) -> str:
        """All that Dagster keeps of a run."""
        return "\n".join(
            f"{entry.user_message} {entry.dagster_event}" for entry in self.instance.all_logs(result.run_id)
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop.build(tmp_path_factory.mktemp("alerts"), {"alpha": ["disc"]}, train=1)


@pytest.fixture
def workshop(built: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(check_alerts, "RETRIES", dg.RetryPolicy(max_retries=2, delay=0.01))
    return built.copied_to(tmp_path / "alerts")


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture
def instance(on_disk: dg.DagsterInstance) -> dg.DagsterInstance:
    """One on disk: in SQLite each run has events of its own, in memory all are together. Each test has its assets."""
    return on_disk


@pytest.fixture
def alerts(workshop: Workshop, instance: dg.DagsterInstance, receiver: Receiver) -> Alerts:
    found = Alerts(workshop, instance, [{"webhook": receiver.url}])
    found.tick()
    return found


def take_health(alerts: Alerts, *, picture: str | None = None) -> None:
    records = list(made_records(DAY, np.linspace(0.1, 0.9, 60), picture=picture))
    day = DayOfRecords.of(CELL.category, CELL.detector, DAY, "", "", records)
    write_text(health_file(alerts.workshop.project, CELL, DAY), health_of(day, NORMALS).model_dump_json())


def test_nobody_to_tell_no_sensor(workshop: Workshop) -> None:
    definitions = build_definitions(workshop.project)
    assert "check_alerts" not in {sensor.name for sensor in definitions.sensors or []}


def test_each_turn_is_told_once(alerts: Alerts, receiver: Receiver) -> None:
    alerts.result("look_drift", True)
    assert alerts.turns() == []
    alerts.result("look_drift", False)
    assert all(result.success for result in alerts.told())
    assert [(got["check"], got["state"], got["day"]) for got in receiver.got] == [("look_drift", "warn", DAY)]
    for _ in range(2):  # the day is looked at again and again
        alerts.result("look_drift", False)
        assert alerts.turns() == []
    alerts.result("look_drift", True)
    assert alerts.turns() == [("look_drift", True, DAY)]
    alerts.result("look_drift", False)
    assert alerts.turns() == [("look_drift", False, DAY)]
    assert len(alerts.keys) == 3


def test_what_says_nothing_and_earlier_days_are_no_turn(alerts: Alerts) -> None:
    alerts.result("look_drift", False)
    assert alerts.turns() == [("look_drift", False, DAY)]
    alerts.result("look_drift", True, "2026-11-27", decided=False)  # the next day has few parts yet
    alerts.result("look_drift", True, "2026-11-02")  # a day long past, looked at again
    alerts.result("score_drift", False, "2026-11-02", decided=False)
    assert alerts.turns() == []
    alerts.result("look_drift", True, "2026-11-27")
    assert alerts.turns() == [("look_drift", True, "2026-11-27")]


def test_checks_of_the_benchmark_are_told_too_and_others_are_not(alerts: Alerts, receiver: Receiver) -> None:
    alerts.result("odd_normals", False, asset="score_table")
    alerts.result("theirs", False, asset="somebody_elses")
    alerts.told()
    (got,) = receiver.got
    assert (got["check"], got["subject"], got["day"]) == ("odd_normals", "alpha/disc x patchcore", None)
    assert got["picture"] is None


def test_what_was_there_before_is_not_told(
    workshop: Workshop, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    alerts = Alerts(workshop, instance, [{"webhook": receiver.url}])
    alerts.result("look_drift", False)
    assert alerts.turns() == []
    alerts.result("look_drift", False)
    assert alerts.turns() == [], "it warned before"
    alerts.result("look_drift", True)
    assert alerts.turns() == [("look_drift", True, DAY)]


def test_a_daemon_that_died_tells_nobody_twice_and_misses_nothing(alerts: Alerts) -> None:
    before = alerts.cursor
    alerts.result("look_drift", False)
    assert alerts.turns() == [("look_drift", False, DAY)]
    alerts.cursor = before  # it died before it had kept the cursor
    assert alerts.turns() == [], "under the same key"
    alerts.result("alarm_rate", False)
    assert alerts.turns() == [("alarm_rate", False, DAY)]
    known = Known.from_cursor(alerts.cursor)
    assert Known.from_cursor(known.to_cursor()) == known
    assert Known.from_cursor("nonsense").after is None


def test_many_turns_are_told_over_several_ticks(alerts: Alerts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_alerts, "ALERTS_PER_TICK", 2)
    for name in ("look_drift", "score_drift", "alarm_rate"):
        alerts.result(name, False)
    for name in ("odd_normals", "scores_usable"):
        alerts.result(name, False, asset="score_table")
    assert [len(alerts.tick()) for _ in range(4)] == [2, 2, 1, 0]


def test_a_receiver_that_answers_late_gets_it_and_another_one_once(
    workshop: Workshop, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    alerts = Alerts(workshop, instance, [{"webhook": receiver.url}, {"webhook": "http://127.0.0.1:9/closed"}])
    alerts.tick()
    receiver.answers = [503, 302]
    alerts.result("look_drift", False)
    (result,) = alerts.told()
    assert len(receiver.got) == 1, "two tries failed, the third did not"
    assert not result.success, "the other one cannot be reached"
    failed = {event.step_key for event in result.all_events if event.is_step_failure}
    assert failed == {"send_webhook_2"}
    said = alerts.events(result)
    assert "the webhook answered 503" in said and "the webhook answered 302" in said
    assert (
        "look_drift warns: alpha/disc x patchcore, 2026-11-26: not delivered by webhook: the webhook cannot be reached"
        in said
    )


def test_the_json_has_figures_link_and_picture(alerts: Alerts, receiver: Receiver) -> None:
    take_health(alerts)
    alerts.result("look_drift", False)
    alerts.told()
    (got,) = receiver.got
    picture = got.pop("picture")
    assert picture["media_type"] == "image/png"
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(picture["base64"]), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[1] > 600
    assert got["link"].startswith(
        f"http://line7:3000/assets/{alerts.prefix}/line_health?view=partitions&partition=alpha"
    )
    assert got["path"].endswith("line/alpha/disc/patchcore/2026-11-26.json") and Path(got["path"]).is_file()
    assert got["figures"] == {"decided": True, "brightness_ks": 0.8, "brightness_p": None}
    assert (got["schema"], got["asset"], got["title"]) == (
        1, f"{alerts.prefix}/line_health", "look_drift warns: alpha/disc x patchcore, 2026-11-26"
    )  # fmt: skip


def test_of_more_alarms_the_worst_part_is_shown(workshop: Workshop, instance: dg.DagsterInstance) -> None:
    alerts = Alerts(workshop, instance, [{"webhook": "http://127.0.0.1:9"}])
    folder = cell_folder(workshop.home / "records", CELL.category, CELL.detector) / DAY
    write_image(folder / "pictures/worst.png", normal_image(5))
    write_image(folder.parent / "secret.png", normal_image(6))
    key = dg.AssetCheckKey(dg.AssetKey("line_health"), "alarm_rate")
    found = Evaluation(1, 0.0, key, str(day_key(CELL, DAY)), False, "", {})
    media = []
    for picture in ("pictures/worst.png", "../secret.png", "pictures/gone.png"):
        take_health(alerts, picture=picture)
        shown = alert_of(workshop.project, found).picture
        assert shown is not None
        media.append(shown.media_type)
    assert media == ["image/jpeg", "image/png", "image/png"], "what is not there, or elsewhere, is not shown"


def test_a_day_that_many_others_came_after_is_drawn(workshop: Workshop, instance: dg.DagsterInstance) -> None:
    alerts = Alerts(workshop, instance, [{"webhook": "http://127.0.0.1:9/"}])
    alerts.result("look_drift", False)
    found = evaluation(
        instance,
        dg.AssetCheckKey(dg.AssetKey([alerts.prefix, "line_health"]), "look_drift"),
        str(day_key(CELL, DAY)),
    )
    assert found is not None
    take_health(alerts)
    health = health_file(workshop.project, CELL, DAY)
    for number in range(1, 32):
        write_text(
            health.with_name(f"2026-12-{number:02}.json"),
            health.read_text().replace(DAY, f"2026-12-{number:02}"),
        )
    assert alert_of(workshop.project, found).picture is not None


def test_a_secret_is_in_the_request_and_nowhere_else(
    workshop: Workshop, instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = {"webhook": {"url_env": "LINE_HOOK", "token_env": "LINE_TOKEN"}}
    alerts = Alerts(workshop, instance, [hook])
    alerts.tick()
    alerts.result("look_drift", False)
    (unset,) = alerts.told()
    assert not unset.success and "environment variable LINE_HOOK is not set" in alerts.events(unset)
    monkeypatch.setenv("LINE_HOOK", receiver.url + "/hidden-path")
    monkeypatch.setenv("LINE_TOKEN", "hidden-token")
    receiver.answers = [500]
    alerts.result("look_drift", True)
    (result,) = alerts.told()
    assert result.success and receiver.headers[0]["Authorization"] == "Bearer hidden-token"
    assert "hidden" not in alerts.events(result)
    monkeypatch.setenv("LINE_HOOK", "http://127.0.0.1:9/hidden-path")
    alerts.result("look_drift", False)
    (result,) = alerts.told()
    assert not result.success and "hidden" not in alerts.events(result)


def test_a_run_without_a_result_says_so(alerts: Alerts) -> None:
    about = {"asset": "line_health", "check": "look_drift", "partition": str(day_key(CELL, DAY))}
    for tag in ("", "{}", json.dumps({**about, "number": 4711})):
        result = alerts.run(tag)
        assert not result.success and "the sensor check_alerts starts this job" in alerts.events(result)
