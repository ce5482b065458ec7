"""Products by torch and by NumPy: which multiplies, and that it does not matter."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from uad_orchestrator.memory import products as subject
from uad_orchestrator.memory.products import products, torch_multiplies

torch = pytest.importorskip("torch", reason="extra torch not installed")


def whole_numbers(m: int, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-900, 900, (m, n)).astype(np.float32)


def test_whole_numbers_come_out_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = whole_numbers(300, 12, 0), whole_numbers(700, 12, 1).T
    by_torch = products(left, right)
    monkeypatch.setattr(subject, "torch_multiplies", lambda: False)
    assert np.array_equal(by_torch, products(left, right))
    assert np.array_equal(by_torch, left.astype(np.int64) @ right.astype(np.int64))
    assert by_torch.dtype == np.float32


def test_float64_keeps_its_digits_and_nothing_is_written_to() -> None:
    left, right = (np.random.default_rng(seed).standard_normal((40, 40)) for seed in (0, 1))
    left.flags.writeable = False
    found = products(left, right)
    np.testing.assert_allclose(found, left @ right, rtol=1e-12, atol=1e-12)
    assert found.dtype == np.float64


def refuses() -> str:
    """As torch from 2.9 on does where ``torch.backends.fp32_precision`` was set."""
    raise RuntimeError("you have used mix of the legacy and new APIs to set the matmul precision")


def test_torch_multiplies_only_where_it_is_loaded_and_keeps_all_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert torch_multiplies()
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert not torch_multiplies()
    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuses)
    assert not torch_multiplies()
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # another thread is just importing it
    assert not torch_multiplies()
    monkeypatch.delitem(sys.modules, "torch")
    assert not torch_multiplies()
