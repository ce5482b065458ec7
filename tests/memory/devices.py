"""Where the code for devices is tested: on torch's own CPU device, and on a GPU where there is one."""

from __future__ import annotations

import importlib.util

import pytest


def cuda_is_there() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


DEVICES = [
    pytest.param(
        "cpu:0",  # torch's name of it; plain "cpu" is NumPy
        marks=pytest.mark.skipif(
            importlib.util.find_spec("torch") is None, reason="extra torch not installed"
        ),
    ),
    pytest.param("cuda", marks=pytest.mark.skipif(not cuda_is_there(), reason="no CUDA device here")),
]
