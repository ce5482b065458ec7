"""How commands speak: notes and errors to standard error, results to standard output."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""A disk that is full, read-only or broken."""


def note(text: str) -> None:
    """Say something to the person at the terminal."""
    typer.echo(text, err=True)


def escape_what_no_terminal_takes() -> None:
    """From now on, bytes of file names that are not UTF-8 are escaped where they are printed, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(values: Any) -> None:
    """The one JSON object of ``--json``."""
    sys.stdout.write(json.dumps(values, indent=1, allow_nan=False) + "\n")


def in_words(error: Exception) -> str:
    """An error as a person reads it: what may not be done says what to do.

    >>> in_words(PermissionError(13, "Permission denied", "maps"))
    'maps: permission denied: let this user read and write there, or name another place'
    """
    if isinstance(error, PermissionError) and error.filename is not None:
        return (
            f"{error.filename}: permission denied: let this user read and write there, or name another place"
        )
    return str(error)


@contextmanager
def speaking() -> Iterator[None]:
    """Turn what a user can mend into a message and an exit status; anything else keeps its traceback."""
    from uad_orchestrator.datasets.problems import DatasetError
    from uad_orchestrator.orchestration.cells.cell_run import MissingUpstream
    from uad_orchestrator.orchestration.versions.state import InputUnavailable
    from uad_orchestrator.orchestration.versions.stores import InstanceError
    from uad_orchestrator.project import ProjectError
    from uad_orchestrator.storage.artifacts import ArtifactError

    try:
        yield
    except KeyboardInterrupt:
        note("Interrupted. What was finished is kept; run the same command again to go on.")
        raise typer.Exit(INTERRUPTED) from None
    except (DatasetError, InputUnavailable, MissingUpstream, InstanceError) as error:
        note(f"Error: {error}")
        raise typer.Exit(FAILED) from error
    except (ProjectError, ArtifactError) as error:
        note(f"Error: {error}")
        raise typer.Exit(WRONG_USAGE) from error
    except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        note(f"Error: {error}")
        raise typer.Exit(WRONG_USAGE) from error
    except PermissionError as error:
        note(f"Error: {in_words(error)}")
        raise typer.Exit(FAILED) from error
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        note(
            f"Error: {error}. Nothing is half written: make room or let it be written to, then run the command again."
        )
        raise typer.Exit(FAILED) from error
    except Exception as error:
        if not _is_of_a_database(error):
            raise
        said = str(getattr(error, "orig", error)).splitlines()[0]
        note(
            f"Error: Dagster's store: {said}. Is its disk full, or another program at it? Then run the command again."
        )
        raise typer.Exit(FAILED) from error


def _is_of_a_database(error: Exception) -> bool:
    """Whether SQLAlchemy raised it; looked up, as importing it takes a tenth of a second."""
    found = sys.modules.get("sqlalchemy.exc")
    return found is not None and isinstance(error, found.DBAPIError)
