"""How busy the GPU is while something runs, as ``nvidia-smi`` samples it."""

from __future__ import annotations

import shutil
import subprocess
from types import TracebackType
from typing import Self

EVERY_MS = 100


class GpuUse:
    """The mean use of the first GPU between entering and leaving; nothing on another device or without the tool.

    Attributes:
        found: ``GPU use, %`` once it is left.
    """

    def __init__(self, device: str) -> None:
        self.found: dict[str, float] = {}
        self._sampler: subprocess.Popen[str] | None = None
        self._wanted = device.startswith("cuda") and shutil.which("nvidia-smi") is not None

    def __enter__(self) -> Self:
        if self._wanted:
            query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
            line = ["nvidia-smi", *query, f"--loop-ms={EVERY_MS}"]
            self._sampler = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
            assert self._sampler.stdout is not None
            self._sampler.stdout.readline()  # it samples from here on
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is None:
            return
        self._sampler.terminate()
        said, _ = self._sampler.communicate()
        samples = [float(line) for line in said.splitlines() if line.strip().isdecimal()]
        if samples:
            self.found = {"GPU use, %": sum(samples) / len(samples)}
