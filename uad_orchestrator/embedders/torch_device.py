"""Where torch runs, and in which precision: nothing here loads it before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uad_orchestrator.embedders.settings import Compute


def choose_device(device: str) -> Any:
    """``auto`` is a CUDA GPU if there is one, else the CPU.

    Raises:
        ValueError: the device asked for is not there.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"runtime.device: {device!r} cannot be used ({reason}); take auto or cpu") from error
    return chosen


def compute_device(device: str) -> str:
    """Where torch will run what is asked for: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    torch is loaded only where there may be a GPU.

    Args:
        device: as for ``choose_device``.

    Returns:
        The device's word.

    Raises:
        ValueError: as ``choose_device``.
    """
    if device == "cpu" or (device == "auto" and not _may_have_a_gpu()):
        return "cpu"
    return str(choose_device(device))


def _may_have_a_gpu() -> bool:
    """Whether the system shows a driver that torch may use; where it would not be seen, True."""
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    return sys.platform != "linux" or any(Path(driver).exists() for driver in drivers)


@contextmanager
def exact_kernels() -> Iterator[None]:
    """float32 without TF32, kernels that do not depend on what was run before."""
    with kernels(None, "cpu"):
        yield


@contextmanager
def kernels(compute: Compute | None, device_type: str) -> Iterator[None]:
    """Kernels that do not depend on what was run before, and compute in one precision.

    Args:
        compute: what they compute in; None: float32 without TF32.
        device_type: where: ``cpu``, ``cuda``, ``mps``.

    Returns:
        A context manager.
    """
    import torch

    tf32 = compute == "tf32"
    halves = {"float16": torch.float16, "bfloat16": torch.bfloat16}
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            if compute in halves:
                with torch.autocast(device_type, dtype=halves[compute]):
                    yield
            else:
                yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
