"""Runs, keeps up to date and explains benchmarks of unsupervised visual anomaly detection.

The packages, from the bottom up: ``images``, ``storage``, ``datasets``, ``preprocessing``, ``embedders``; then
``memory``, ``postprocess`` and ``metrics`` side by side; ``detectors``, ``inference``; ``reporting`` beside
``export``; ``project`` (uad.yaml); on top ``orchestration`` (the Dagster graph) and ``cli``. Everything below
``orchestration`` is a library that can be used from a notebook, without Dagster. ``.importlinter`` holds the order.
"""

__version__ = "0.1.0"
