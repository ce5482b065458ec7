"""Alerts: the sensor ``check_alerts`` looks for checks that turned, the job ``alert`` tells of each once.

The event log is the truth. Each result has a number there, and the run that tells of it a key made from that number:
Dagster makes no second run of one key, so a tick that is repeated tells nobody twice. Each receiver is an op of its own
with its own retries: who got the alert does not get it again because another did not.
"""

# No `from __future__ import annotations` here: Dagster reads the types of an op's parameters.

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import dagster as dg

from uad_orchestrator.orchestration.assets.line import LINE_HEALTH
from uad_orchestrator.orchestration.automation.alert_channels import NotDelivered, send
from uad_orchestrator.orchestration.automation.alert_message import Place, alert_of, place_of
from uad_orchestrator.orchestration.automation.run_requests import tick_result
from uad_orchestrator.orchestration.cells.findings.line_rules import DECIDED
from uad_orchestrator.orchestration.checks.asset_checks import CHECKS
from uad_orchestrator.orchestration.checks.line_checks import LINE_CHECKS
from uad_orchestrator.orchestration.checks.threshold_steady import NAME as THRESHOLD_STEADY
from uad_orchestrator.orchestration.dagster_instance.check_events import (
    Evaluation,
    evaluation,
    latest_results,
)
from uad_orchestrator.orchestration.dagster_instance.names import asset_key, name_in_dagster
from uad_orchestrator.project import Project, read_again
from uad_orchestrator.project.settings import AlertSettings

CHECK_ALERTS, ALERT = "check_alerts", "alert"
INTERVAL = 30
ALERTS_PER_TICK = 20
LOOK_BACK = 200
"""Events before the last one that are looked at again: some databases show them in another order than they number."""
READING_SECONDS = 10.0
"""Of the 20 s that we give a tick, as Dagster ends one after 60."""
RESULT_TAG = "uad/check_result"
"""Of a run that tells of a result: which one, as JSON."""
RETRIES = dg.RetryPolicy(max_retries=5, delay=10, backoff=dg.Backoff.EXPONENTIAL)
"""Of one receiver: the last try five minutes after the first."""


def alert_definitions(project: Project) -> dg.Definitions:
    """Job and sensor; nothing where nobody is to be told (``automation.alerts``)."""
    if not project.automation.alerts:
        return dg.Definitions()
    job = _alert_job(project)
    return dg.Definitions(jobs=[job], sensors=[_check_alerts_sensor(project, job)])


def _alert_job(project: Project) -> dg.JobDefinition:
    ops = [_send_op(project, to, place) for place, to in enumerate(project.automation.alerts, 1)]

    @dg.job(
        name=name_in_dagster(project, ALERT),
        description="Tells each receiver of `automation.alerts` that an asset check turned.",
        executor_def=dg.in_process_executor,
    )
    def alert() -> None:
        for op in ops:
            op()

    return alert


def _send_op(project: Project, to: AlertSettings, place: int) -> dg.OpDefinition:
    @dg.op(
        name=name_in_dagster(project, f"send_{to.kind}_{place}"),
        retry_policy=RETRIES,
        description=f"Receiver {place} of automation.alerts, by {to.kind}.",
    )
    def send_alert(context: dg.OpExecutionContext) -> None:
        found = _told_of(context.instance, project, context.run.tags.get(RESULT_TAG, ""))
        if found is None:
            why = f"this run names no result of a check that there is: the sensor {CHECK_ALERTS} starts this job"
            raise dg.Failure(why, allow_retries=False)
        alert = alert_of(read_again(project), found)
        try:
            send(alert, to, context.log.warning)
        except ImportError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        except NotDelivered as error:
            raise dg.Failure(f"{alert.title}: not delivered by {to.kind}: {error}") from None
        context.log.info(f"{alert.title}: delivered by {to.kind}")

    return send_alert


def _check_alerts_sensor(project: Project, job: dg.JobDefinition) -> dg.SensorDefinition:
    @dg.sensor(
        name=name_in_dagster(project, CHECK_ALERTS),
        job=job,
        minimum_interval_seconds=INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="An asset check that passed warns, or one that warned passes: the job `alert` tells of it once. "
        "What was there before the sensor began is not told.",
    )
    def check_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        known = Known.from_cursor(context.cursor)
        if known.after is None:
            known.begin(context.instance, project)
            return tick_result([], known.to_cursor(), [], "what is there already is not told")
        requests = [_request(project, found) for found in _turned(context.instance, project, known)]
        return tick_result(requests, known.to_cursor(), [], "no check turned")

    return check_alerts


@dataclass
class Known:
    """What the sensor remembers.

    Attributes:
        after: the number of the last event that it looked at; None: it has not begun.
        states: of each check of each subject the day of its last verdict, and whether that was a pass.
    """

    after: int | None = None
    states: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, text: str | None) -> "Known":
        """What the last tick remembered; a new beginning where that is unreadable."""
        try:
            values = json.loads(text or "{}")
            states = {key: (str(day), bool(passed)) for key, (day, passed) in values["states"].items()}
            return cls(int(values["after"]), states)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def to_cursor(self) -> str:
        """For the next tick."""
        return json.dumps(asdict(self))

    def begin(self, instance: dg.DagsterInstance, project: Project) -> None:
        """Take what is there as known."""
        self.after = 0
        for latest in latest_results(instance, check_keys(project)):
            place = place_of(latest.key, latest.partition)
            if place.day >= self.last(latest.key, place)[0]:
                self.states[_name(latest.key, place)] = (place.day, latest.passed)
            self.after = latest.event

    def last(self, key: dg.AssetCheckKey, place: Place) -> tuple[str, bool]:
        """The day of a check's last verdict, and whether that was a pass: so counts what was never heard of."""
        return self.states.get(_name(key, place), ("", True))

    def turns(self, found: Evaluation, place: Place) -> bool:
        """Take a result in; whether its check turned with it. One that says nothing (too few parts) is no verdict."""
        if not found.metadata.get(DECIDED, True):
            return False
        _, passed = self.last(found.key, place)
        self.states[_name(found.key, place)] = (place.day, found.passed)
        return found.passed != passed


def check_keys(project: Project) -> list[dg.AssetCheckKey]:
    """All checks of the project."""
    of = {
        **{asset: [judge.__name__ for judge in judges] for asset, judges in CHECKS.items()},
        LINE_HEALTH: [rule.__name__ for rule in LINE_CHECKS if project.line.records is not None],
    }
    of["score_table"] = [*of["score_table"], THRESHOLD_STEADY]
    return [
        dg.AssetCheckKey(asset_key(project, asset), name) for asset, names in of.items() for name in names
    ]


def _turned(instance: dg.DagsterInstance, project: Project, known: Known) -> Iterator[Evaluation]:
    """The results that checks turned with, as many as a tick may ask for; the next one goes on from there.

    A result of an earlier day than the last that was judged is passed over.
    """
    until, told = time.monotonic() + READING_SECONDS, 0
    for latest in latest_results(instance, check_keys(project), max((known.after or 0) - LOOK_BACK, 0)):
        place = place_of(latest.key, latest.partition)
        day, passed = known.last(latest.key, place)
        if place.day >= day and (place.day, latest.passed) != (day, passed):
            found = evaluation(instance, latest.key, latest.partition)
            if found is not None and known.turns(found, place):
                yield found
                told += 1
        known.after = max(latest.event, known.after or 0)
        if told == ALERTS_PER_TICK or time.monotonic() > until:
            return


def _name(key: dg.AssetCheckKey, place: Place) -> str:
    return f"{'/'.join(key.asset_key.path)}:{key.name}:{place.subject}"


def _request(project: Project, found: Evaluation) -> dg.RunRequest:
    result = {
        "check": found.key.name,
        "asset": found.key.asset_key.path[-1],
        "partition": found.partition,
        "number": found.number,
    }
    return dg.RunRequest(
        run_key=f"{ALERT}:{_name(found.key, place_of(found.key, found.partition))}:{found.number}",
        job_name=name_in_dagster(project, ALERT),
        tags={RESULT_TAG: json.dumps(result), "uad/asked_by": CHECK_ALERTS, "uad/check": found.key.name},
    )


def _told_of(instance: dg.DagsterInstance, project: Project, tag: str) -> Evaluation | None:
    """The result that a run is to tell of."""
    try:
        values = json.loads(tag)
        key = dg.AssetCheckKey(asset_key(project, str(values["asset"])), str(values["check"]))
        return evaluation(instance, key, values["partition"], int(values["number"]))
    except (ValueError, TypeError, KeyError):
        return None
