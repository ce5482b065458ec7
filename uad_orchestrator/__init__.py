"""Runs, keeps up to date and explains benchmarks of unsupervised visual anomaly detection.

The rooms, from the bottom up: ``images`` and ``project``, ``storage``, ``datasets``, ``preprocessing``,
``embedders``, ``memory``, ``detectors``, ``postprocess``, ``metrics``, ``inference``, ``reporting``; on top
``orchestration`` (the Dagster graph) and ``cli``. Everything below ``orchestration`` is a library that can be
used from a notebook, without Dagster.
"""

__version__ = "0.1.0"
