import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.threads import MOST_THREADS, available_threads, ordered_map


@given(st.lists(st.integers(), max_size=40), st.integers(1, 5), st.integers(0, 7))
def test_results_are_those_of_map_in_its_order(items, threads, ahead):
    assert list(ordered_map(lambda n: n * n, items, threads=threads, ahead=ahead)) == [n * n for n in items]


def test_order_is_kept_where_later_items_are_done_first():
    def slow_first(n):
        time.sleep(0.05 if n == 0 else 0)
        return n

    assert list(ordered_map(slow_first, range(8), threads=4, ahead=4)) == list(range(8))


def test_no_more_than_ahead_items_are_taken_beyond_the_one_waited_for():
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield n

    results = ordered_map(lambda n: n, items(), threads=3, ahead=5)
    assert taken == []
    for n in range(10):
        assert next(results) == n
        assert len(taken) <= n + 1 + 5


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_comes_at_its_item_and_the_rest_is_dropped(threads):
    called = []

    def fails_at_three(n):
        called.append(n)
        if n == 3:
            raise ValueError("three")
        return n

    found = []
    with pytest.raises(ValueError, match="three"):
        for n in ordered_map(fails_at_three, range(1000), threads=threads, ahead=4):
            found.append(n)
    assert found == [0, 1, 2]
    assert max(called) <= 3 + 4


def test_closing_waits_for_nothing():
    release = threading.Event()

    def waits(n):
        if n:
            release.wait(30)
        return n

    results = ordered_map(waits, range(10), threads=2, ahead=3)
    assert next(results) == 0
    started = time.perf_counter()
    results.close()
    assert time.perf_counter() - started < 5
    release.set()


def test_calls_run_beside_each_other():
    together = threading.Barrier(3, timeout=30)

    def meets(n):
        together.wait()
        return n

    assert list(ordered_map(meets, range(3), threads=3, ahead=3)) == [0, 1, 2]


@pytest.mark.parametrize("said, most", [("1", 1), ("2", 2), ("0", MOST_THREADS), ("many", MOST_THREADS)])
def test_a_worker_keeps_to_its_share(monkeypatch, said, most):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert 1 <= available_threads() <= most


def test_without_a_share_it_is_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= available_threads() <= MOST_THREADS
