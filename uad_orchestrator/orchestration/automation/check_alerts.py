"""Alerts: the sensor ``check_alerts`` looks for checks that turned, the job ``alert`` tells of each once.

The event log is the truth. Each result has a number there, and the run that tells of it a key made from that number:
Dagster makes no second run of one key, so a tick that is repeated, or a cursor that was lost, tells nobody twice. Each
receiver is an op of its own with its own retries: who got the alert does not get it again because another did not.
"""

# No `from __future__ import annotations` here: Dagster reads the types of an op's parameters.

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import dagster as dg

from uad_orchestrator.orchestration.automation.alert_channels import NotDelivered, send
from uad_orchestrator.orchestration.automation.alert_message import Place, alert_of, place_of
from uad_orchestrator.orchestration.automation.run_requests import tick_result
from uad_orchestrator.orchestration.cells.findings.line_rules import DECIDED
from uad_orchestrator.orchestration.dagster_instance.check_events import (
    Evaluation,
    evaluation,
    evaluations_after,
    newest_evaluation,
)
from uad_orchestrator.orchestration.dagster_instance.names import name_in_dagster
from uad_orchestrator.project import Project, read_again
from uad_orchestrator.project.settings import AlertSettings

CHECK_ALERTS, ALERT = "check_alerts", "alert"
INTERVAL = 30
ALERTS_PER_TICK = 20
PAGE = 500
READING_SECONDS = 10.0
"""Of the 20 s that a tick may take."""
NUMBER_TAG = "uad/check_result"
"""Of a run that tells of a result: its number in the event log."""
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
        number = context.run.tags.get(NUMBER_TAG, "")
        found = evaluation(context.instance, int(number)) if number.isdigit() else None
        whose = None if found is None else place_of(project, found)
        if found is None or whose is None:
            why = f"no result of a check has the number {number!r}: the sensor {CHECK_ALERTS} starts this job"
            raise dg.Failure(why, allow_retries=False)
        alert = alert_of(read_again(project), found, whose)
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
        if known.told_from is None:
            known.told_from = newest_evaluation(context.instance)
        turned = list(_turned(context.instance, project, known))
        requests = [_request(project, found, place) for found, place in turned]
        return tick_result(requests, known.to_cursor(), [], "no check turned")

    return check_alerts


@dataclass
class Known:
    """What the sensor remembers.

    Attributes:
        told_from: results up to this number were there before it began; None: it has not begun.
        after: the number of the last result that it looked at.
        states: of each check of each subject the day of its last verdict, and whether that was a pass.
    """

    told_from: int | None = None
    after: int = 0
    states: dict[str, tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, text: str | None) -> "Known":
        """What the last tick remembered; a new beginning where that is unreadable."""
        try:
            values = json.loads(text or "{}")
            states = {key: (str(day), bool(passed)) for key, (day, passed) in values["states"].items()}
            return cls(int(values["told_from"]), int(values["after"]), states)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def to_cursor(self) -> str:
        """For the next tick."""
        return json.dumps(asdict(self))

    def turns(self, found: Evaluation, place: Place) -> bool:
        """Take a result in; whether its check turned with it.

        A check that was never heard of counts as passing. A result that says nothing (too few parts) is none, and so
        is one of an earlier day than the last that was judged.
        """
        self.after = found.number
        if not found.metadata.get(DECIDED, True):
            return False
        key = f"{'/'.join(found.asset.path)}:{found.check}:{place.subject}"
        day, passed = self.states.get(key, ("", True))
        if place.day < day:
            return False
        self.states[key] = (place.day, found.passed)
        return found.passed != passed and found.number > (self.told_from or 0)


def _turned(
    instance: dg.DagsterInstance, project: Project, known: Known
) -> Iterator[tuple[Evaluation, Place]]:
    """The results that checks turned with, as many as a tick may ask for; the next one goes on from there."""
    until, told = time.monotonic() + READING_SECONDS, 0
    while time.monotonic() < until:
        page: Sequence[Evaluation] = evaluations_after(instance, known.after, PAGE)
        for found in page:
            place = place_of(project, found)
            if place is None:
                known.after = found.number
            elif known.turns(found, place):
                yield found, place
                told += 1
                if told == ALERTS_PER_TICK:
                    return
        if len(page) < PAGE:
            return


def _request(project: Project, found: Evaluation, place: Place) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{ALERT}:{found.number}",
        job_name=name_in_dagster(project, ALERT),
        tags={NUMBER_TAG: str(found.number), "uad/asked_by": CHECK_ALERTS, "uad/check": found.check,
              "uad/subject": str(place)[:200]},
    )  # fmt: skip
