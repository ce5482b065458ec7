"""Work on a device: halved blocks, the CPU as the way out, float32 that is float32."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="extra torch not installed")

from tests.memory.devices import DEVICES  # noqa: E402
from uad_orchestrator.embedders.torch_device import exact_kernels  # noqa: E402
from uad_orchestrator.memory import device as module  # noqa: E402
from uad_orchestrator.memory.device import (  # noqa: E402
    in_blocks,
    on_device,
    on_device_or_cpu,
)
from uad_orchestrator.memory.device_rows import DeviceRows  # noqa: E402
from uad_orchestrator.memory.greedy_search import greedy_order  # noqa: E402
from uad_orchestrator.memory.nearest import NearestNeighbors  # noqa: E402
from uad_orchestrator.memory.outlier_weights import feature_space_lof, outlier_weights  # noqa: E402


def out_of_memory(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def warning(task: str, device: str = "cpu:0") -> str:
    return f"{task}: not enough memory on {device}, so it goes on on the CPU, more slowly"


def test_blocks_are_halved_until_they_fit_and_every_row_is_done_once() -> None:
    done: list[int] = []

    def work(block: slice) -> None:
        if block.stop - block.start > 3 or (block.start == 6 and block.stop > 7):
            out_of_memory()
        done.extend(range(block.start, block.stop))

    assert in_blocks(11, 100, work) == 1
    assert done == list(range(11))
    done.clear()
    assert in_blocks(6, 4, work) == 2
    assert done == list(range(6))


def test_where_not_even_one_row_fits_it_says_so() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        in_blocks(5, 4, out_of_memory)
    assert in_blocks(0, 4, out_of_memory) == 4, "no rows, no work"


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    def work(block: slice) -> None:
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        in_blocks(5, 4, work)
    with pytest.raises(ValueError, match="something else"):
        on_device_or_cpu("cpu:0", "a test", lambda: work(slice(0)), lambda: None)


def test_the_cpu_is_the_way_out_and_a_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert on_device_or_cpu("cuda:1", "a test", out_of_memory, lambda: 7) == 7
        assert on_device_or_cpu("cpu", "a test", out_of_memory, lambda: 8) == 8
    assert caplog.messages == [warning("a test", "cuda:1")]


def test_a_search_that_runs_out_of_memory_goes_on_on_the_cpu_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    bank, asked = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 20))
    search = NearestNeighbors(bank, device="cpu:0")
    sent = on_device(asked, "cpu:0")
    assert search.device == "cpu:0"
    monkeypatch.setattr(DeviceRows, "search", out_of_memory)
    expected = NearestNeighbors(bank).search(asked, 3)
    for queries in (sent, asked, sent):
        found = search.search(queries, 3)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert search.device == "cpu" and caplog.messages == [warning("search in a memory bank")]


def test_a_bank_that_does_not_fit_is_searched_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bank = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    monkeypatch.setattr(DeviceRows, "__init__", out_of_memory)
    search = NearestNeighbors(bank, device="cpu:0")
    assert search.device == "cpu" and caplog.messages == [warning("a memory bank")]
    assert np.array_equal(search.search(bank)[1][:, 0], np.arange(50))


TASKS: list[tuple[str, Callable[[str], np.ndarray]]] = [
    ("the search for a coreset", lambda device: greedy_order(points(300, 5), 40, 0, device=device)),
    (
        "outlier weights",
        lambda device: outlier_weights(points(60, 5).reshape(12, 5, 5), "lof", 3, device=device),
    ),
    (
        "outlier weights",
        lambda device: feature_space_lof(points(60, 5), np.arange(0, 61, 10), 3, device=device),
    ),
]


def points(n: int, p: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((n, p)).astype(np.float32)


@pytest.mark.parametrize(("name", "task"), TASKS, ids=["coreset", "lof", "unaligned"])
def test_every_task_has_the_way_out(
    name: str,
    task: Callable[[str], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = task("cpu")
    monkeypatch.setattr(module, "to_tensor", out_of_memory)
    for user in ("greedy_search", "device_outliers"):
        monkeypatch.setattr(f"uad_orchestrator.memory.{user}.to_tensor", out_of_memory)
    assert np.array_equal(task("cpu:0"), expected)
    assert caplog.messages == [warning(name)]


def test_queries_that_do_not_fit_stay_an_array_and_a_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "to_tensor", out_of_memory)
    rows = points(3, 2)
    assert on_device(rows, "cpu:0") is rows
    assert caplog.messages == [warning("rows to search for")]


def test_tf32_is_off_for_the_while() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        for allowed in (True, False):
            matmul.allow_tf32 = allowed
            with pytest.raises(RuntimeError), exact_kernels():
                assert matmul.allow_tf32 is False
                raise RuntimeError
            assert matmul.allow_tf32 is allowed
    finally:
        matmul.allow_tf32 = before


@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_sent_once_and_arrays_stay_as_they_are(device: str) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows.flags.writeable = False
    assert on_device(rows, "cpu") is rows
    sent = on_device(rows, device)
    assert sent.device == torch.empty(0, device=device).device
    sent += 1
    assert rows.tolist() == [[0, 1], [2, 3], [4, 5]]
