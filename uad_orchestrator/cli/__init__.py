"""The ``uad`` command: reads arguments, calls one function of the project, prints what it returns."""

from uad_orchestrator.cli.app import app

__all__ = ["app"]
