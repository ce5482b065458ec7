"""Whether a port can be listened on, asked before anything is started."""

from __future__ import annotations

import socket

import typer

from uad_orchestrator.cli.terminal.output import FAILED, note


def require_free_port(host: str, port: int) -> None:
    """Do nothing where the port is free; else say so, and exit with 1."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as servers do: one that has just ended
            probe.bind(address)
    except OSError as error:
        note(
            f"Error: {host}:{port} cannot be listened on: {error.strerror or error}. Choose another --port, "
            "or end what listens there"
        )
        raise typer.Exit(FAILED) from error
