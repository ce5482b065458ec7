"""``python -m uad_orchestrator.cli``: the ``uad`` command where its script is not on the path."""

from uad_orchestrator.cli.app import app

app(prog_name="uad")
