"""Arrays in a file: exactly those given, and never a pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.storage.array_file import read_arrays, write_arrays

ARRAYS = {
    "bank": np.arange(12, dtype=np.float16).reshape(3, 4),
    "images": np.array(["a.png", "ä.png"]),
    "count": np.array(7),
    "none": np.zeros((0, 2)),
}


@pytest.mark.parametrize("compress", [False, True])
def test_the_arrays_given_come_back_and_no_others(tmp_path: Path, compress: bool) -> None:
    write_arrays(tmp_path / "state.npz", ARRAYS, compress=compress)
    found = read_arrays(tmp_path / "state.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_it_is_deflated_where_that_is_asked_for(tmp_path: Path) -> None:
    for compress in (False, True):
        write_arrays(tmp_path / f"{compress}.npz", {"zeros": np.zeros(10_000)}, compress=compress)
    assert (tmp_path / "True.npz").stat().st_size * 10 < (tmp_path / "False.npz").stat().st_size


@pytest.mark.parametrize("objects", [np.array([{"not": "numbers"}]), np.array([None, 1.0]), [None]])
def test_python_objects_are_refused_before_anything_is_written(tmp_path: Path, objects: object) -> None:
    with pytest.raises(ValueError, match="'odd' holds Python objects"):
        write_arrays(tmp_path / "state.npz", {**ARRAYS, "odd": objects})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", odd=np.array([{"not": "numbers"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(tmp_path / "state.npz")


@pytest.mark.parametrize("failures", [2, 99])
def test_a_header_that_the_parser_trips_over_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    write_arrays(tmp_path / "state.npz", ARRAYS)
    load, left = np.load, [failures]

    def tripping(*given: object, **options: object) -> object:
        left[0] -= 1
        if left[0] >= 0:
            raise SystemError("AST constructor recursion depth mismatch (before=51, after=48)")
        return load(*given, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "load", tripping)
    if failures > 10:
        with pytest.raises(SystemError, match="recursion depth"):
            read_arrays(tmp_path / "state.npz")
        return
    assert list(read_arrays(tmp_path / "state.npz")) == list(ARRAYS)
