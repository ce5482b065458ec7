"""Measurements in a process of their own: no cache, no memory and no thread pool of the one before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared" / "real"
"""Real images and weights, where this folder exists beside the repository; else generated ones are taken."""


def measured(module: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Run ``python -m benchmarks.<module> ARGUMENTS``; what it prints last is a JSON object of figures."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory_mb() -> float:
    """This process's peak resident memory so far."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would begin with the parent's size
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024
