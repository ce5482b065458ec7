"""What work on a device needs: plain float32, blocks that fit its memory, and the CPU where none is left.

A device is named as torch names it (``cuda``, ``cuda:1``, ``mps``); ``cpu`` means NumPy, without torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from uad_orchestrator.embedders.torch_device import exact_kernels

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BLOCK_VALUES = 2_000_000
"""float32 values of a block where a device does not say how much memory is free: 8 MB."""

LARGEST_BLOCK = 1 << 28
"""float32 values of a block, at most: 1 GiB, beyond which nothing is faster."""


def on_device(rows: np.ndarray, device: str) -> Any:
    """Rows where they are worked on: the array itself on the CPU, else a tensor on the device.

    What is searched for several times is sent there once.

    Args:
        rows: float32.
        device: ``cpu``, or a device of torch's.

    Returns:
        The array, or the tensor.
    """
    return on_device_or_cpu(device, "rows to search for", lambda: to_tensor(rows, device), lambda: rows)


def to_tensor(array: np.ndarray, device: str) -> Any:
    """A tensor on a device; on torch's own CPU it shares the array's memory where that may be written to."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def free_values(device: str) -> int:
    """How many float32 values a block on a device may have: a quarter of its free memory, at most 1 GiB."""
    import torch

    if torch.device(device).type != "cuda":
        return BLOCK_VALUES
    # CUDA only: what torch has set aside and does not use is free, too
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(LARGEST_BLOCK, free // 16))


def in_blocks(count: int, size: int, work: Callable[[slice], object]) -> int:
    """Go over ``count`` rows in blocks, halved as often as a device has too little memory for one.

    Args:
        count: rows.
        size: of a block, to begin with.
        work: called with each block; again, with the first half of it, where it ran out of memory.

    Returns:
        The size of block that fitted.

    Raises:
        torch.OutOfMemoryError: not even one row fits.
    """
    import torch

    start = 0
    while start < count:
        try:
            work(slice(start, min(start + size, count)))
            start += size
            continue
        except torch.cuda.OutOfMemoryError:
            if size == 1:
                raise
        # outside the handler, whose traceback holds on to what the block had allocated
        size = max(1, min(size, count) // 2)
        give_memory_back()
    return size


def on_device_or_cpu(
    device: str, task: str, there: Callable[[], Result], on_cpu: Callable[[], Result]
) -> Result:
    """Work on a device; on the CPU where that is the device, or where its memory does not suffice.

    Args:
        device: where to.
        task: what is done, for the warning.
        there: does it with torch.
        on_cpu: does it with NumPy.

    Returns:
        What either returned.
    """
    if device == "cpu":
        return on_cpu()
    import torch

    try:
        with exact_kernels():
            return there()
    except torch.cuda.OutOfMemoryError:
        pass  # below, outside the handler, whose traceback holds on to what was allocated
    give_memory_back()
    logger.warning("%s: not enough memory on %s, so it goes on on the CPU, more slowly", task, device)
    return on_cpu()


def give_memory_back() -> None:
    """Let the device have what torch holds in reserve, in pieces that did not fit."""
    import torch

    if torch.cuda.is_available():  # CUDA only
        torch.cuda.empty_cache()
