"""Who is at the terminal."""

from __future__ import annotations

import getpass

import typer

from uad_orchestrator.cli.terminal.output import WRONG_USAGE, note


def logged_in_name(does: str) -> str:
    """The name that one is logged in by; wrong usage where there is none, as in a container.

    Args:
        does: what the person does, for the message: ``chooses``.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        note(f"Error: nobody is logged in here by a name: say who {does} with --by NAME")
        raise typer.Exit(WRONG_USAGE) from error
