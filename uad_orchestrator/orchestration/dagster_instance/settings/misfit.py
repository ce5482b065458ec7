"""A setting of ``dagster.yaml`` that does not fit; one is a variable that is not set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.datasets.problems import Severity
from uad_orchestrator.orchestration.dagster_instance.settings.read import variables


@dataclass(frozen=True)
class Misfit:
    """A setting that does not fit.

    Attributes:
        key: where it stands, as ``run_monitoring.enabled``.
        said: what it is, what is expected, why, and what to do.
        severity: an error where runs or commands fail by it.
    """

    key: str
    said: str
    severity: Severity = "error"


def unset_variables(settings: Any, environ: Mapping[str, str], key: str = "") -> Iterator[Misfit]:
    """The values that come from a variable which is not set."""
    for place, name in variables(settings, key):
        if not environ.get(name):
            said = f"comes from the environment's {name}, which is not set: set it where uad and its servers start"
            yield Misfit(place, said)
