"""``uad review``: the page on which people judge what the line stopped."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from uad_orchestrator.cli.terminal.options import Categories, Detectors, Home
from uad_orchestrator.cli.terminal.output import FAILED, WRONG_USAGE, note, speaking
from uad_orchestrator.cli.terminal.ports import require_free_port
from uad_orchestrator.cli.terminal.selecting import select
from uad_orchestrator.cli.terminal.user import logged_in_name

if TYPE_CHECKING:
    from uad_orchestrator.review.review import Review


def review(
    home: Home = None,
    category: Categories = None,
    detector: Detectors = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on localhost.")] = 8765,
    by: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who reviews.", show_default="the name you are logged in by"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Judge what the line stopped, on a page on localhost: normal, a defect, or unsure; Ctrl-C stops it."""
    from uad_orchestrator.orchestration.services.review import NotReviewed, open_review
    from uad_orchestrator.project.load import open_project

    with speaking():
        project = open_project(home)
        selection = select(project, category, detector)
        person = logged_in_name("reviews") if by is None else by.strip()
        if not person.isprintable() or not person:
            note(f"Error: --by is {by!r}: expected a name")
            raise typer.Exit(WRONG_USAGE)
        try:
            opened = open_review(project, selection, person)
            for fault in opened.complete():
                note(f"Warning: {fault}")
        except (NotReviewed, TimeoutError) as error:
            note(f"Error: {error}")
            raise typer.Exit(FAILED) from error
        _serve(opened, port, browser)


def _serve(opened: Review, port: int, browser: bool) -> None:
    import uvicorn

    from uad_orchestrator.inference.service.limits import USUAL_LIMITS
    from uad_orchestrator.inference.service.server import server_config
    from uad_orchestrator.review.page.http_app import HOST, create_page
    from uad_orchestrator.review.page.page_access import page_address

    require_free_port(HOST, port)
    token = secrets.token_urlsafe(24)
    server = uvicorn.Server(server_config(create_page(opened, token), HOST, port, USUAL_LIMITS))
    with socket.create_server((HOST, port)) as listening:  # before the browser asks
        address = page_address(HOST, port, token)
        note(f"{address} (Ctrl-C stops it; the address is yours alone)")
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
