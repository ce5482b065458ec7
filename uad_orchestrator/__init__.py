"""Runs, keeps up to date and explains benchmarks of unsupervised visual anomaly detection.

The packages, from the bottom up: ``plugins``, ``spelling`` and ``threads``; ``storage``, ``images``, ``datasets``,
``preprocessing``, ``embedders``; then ``memory``, ``postprocess`` and ``metrics`` side by side; ``detectors``,
``inference``; ``reporting`` beside ``export``; ``project`` (uad.yaml); on top ``orchestration`` (the Dagster graph),
``component``, ``definitions`` and ``cli``. Everything below ``orchestration`` is a library that can be used from a
notebook, without Dagster. ``.importlinter`` holds the order.
"""

from importlib import import_module
from typing import Any

__all__ = ["UadBenchmark", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``UadBenchmark``, imported when it is asked for: the rest of the package does without Dagster.

    Dagster names a component by the module of its entry point, so ``type: uad_orchestrator.UadBenchmark`` has to be
    an attribute here. It is imported by its module's name, not by a statement, so that no package below depends on it.
    """
    if name != "UadBenchmark":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.component").UadBenchmark


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # `dg list components` looks here
