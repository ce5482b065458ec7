"""A signal is noticed even where another handler swallows it, as Dagster's does between two steps."""

from __future__ import annotations

import os
import signal
import threading

import dagster as dg

from tests.orchestration.dagster_instance.contracts import contract
from uad_orchestrator.orchestration.dagster_instance.interrupts import noticed_interrupts


def test_a_swallowed_signal_is_noticed_once() -> None:
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with noticed_interrupts() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupted()
            assert not interrupted()
    finally:
        signal.signal(signal.SIGINT, before)


def test_elsewhere_than_in_the_main_thread_nothing_is_noticed() -> None:
    answers: list[bool] = []

    def ask() -> None:
        with noticed_interrupts() as interrupted:
            answers.append(interrupted())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]


@contract("interrupts.py", "leaves Python's wake-up file descriptor alone while it runs a job")
def test_a_signal_that_a_run_of_dagsters_takes_is_noticed() -> None:
    handlers = []

    @dg.asset
    def interrupted() -> None:
        handlers.append(signal.getsignal(signal.SIGINT))
        os.kill(os.getpid(), signal.SIGINT)

    with noticed_interrupts() as came, dg.DagsterInstance.ephemeral() as instance:
        before = signal.getsignal(signal.SIGINT)
        dg.materialize([interrupted], instance=instance, raise_on_error=False)
        assert came()
    assert handlers != [before], "Dagster takes the signals itself: hence the file descriptor"
