"""The server under the application: what uvicorn is told, and time limits on connections that it has none for."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from uad_orchestrator.inference.line_output import LineOutput
from uad_orchestrator.inference.service.limits import Limits
from uad_orchestrator.inference.service.request_log import LogFormat, log_config

LEAST_SECONDS = 1.0
"""For what waits to be written, where requests took all the time to drain."""


@dataclass(frozen=True)
class Tls:
    """A certificate, with those that vouch for it, and its key: PEM files.

    Raises:
        ValueError: they are no certificate and key that belong together.
        OSError: a file cannot be read.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.certificate,
                self.key,
                password=lambda: "",  # or OpenSSL asks at the terminal
            )
        except ssl.SSLError as error:
            raise ValueError(
                f"{self.certificate} and {self.key} are no certificate and unencrypted key, in PEM, that belong "
                f"together: {error}"
            ) from None
        except FileNotFoundError:
            missing = self.key if self.certificate.exists() else self.certificate
            raise FileNotFoundError(f"{missing}: no such file") from None


def server_config(
    app: ASGIApp, host: str, port: int, limits: Limits, *, tls: Tls | None = None, log: LogFormat = "text"
) -> uvicorn.Config:
    """How uvicorn runs the application.

    Args:
        app: the application.
        host: the address to listen on.
        port: likewise.
        limits: of time.
        tls: None: plain HTTP.
        log: what goes to standard error.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=limited_connection(limits),
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=limits.drain_seconds,
        log_config=log_config(log),
        log_level=None,
        access_log=False,
        server_header=False,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else str(tls.key),
    )


class DrainingServer(uvicorn.Server):
    """Lets the line's results be written and sent, too, before it ends: within the same time to drain.

    On SIGTERM uvicorn ends the process when it has shut down, so nothing that comes later would be done.

    Args:
        config: of ``server_config``.
        drain_seconds: from being told to end to the end.
        line: where results go; None: nowhere.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float, line: LineOutput | None) -> None:
        super().__init__(config)
        self.drain_seconds = drain_seconds
        self.line = line

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way, then write and send what waits."""
        ends = time.monotonic() + self.drain_seconds
        await super().shutdown(sockets)
        if self.line is not None:
            self.line.close(max(LEAST_SECONDS, ends - time.monotonic()))


def limited_connection(limits: Limits) -> type[H11Protocol]:
    """uvicorn's connections, with time limits for headers, and for clients to take an answer.

    uvicorn limits the time between requests alone, and any byte ends that: a header a byte at a time, or none at all,
    would hold a connection for ever.
    """

    class LimitedConnection(H11Protocol):
        _header: asyncio.TimerHandle
        _answer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._header = self._abort_after(limits.header_seconds)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._header.cancel()

        def on_response_complete(self) -> None:
            self._header = self._abort_after(limits.header_seconds)
            before = self.cycle
            super().on_response_complete()  # it takes up a request that came meanwhile
            if self.cycle is not before:
                self._header.cancel()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._answer = self._abort_after(limits.body_seconds)

        def resume_writing(self) -> None:
            if self._answer is not None:
                self._answer.cancel()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._header.cancel()
            if self._answer is not None:
                self._answer.cancel()
            super().connection_lost(exc)

        def _abort_after(self, seconds: float) -> asyncio.TimerHandle:
            return self.loop.call_later(seconds, self.transport.abort)

    return LimitedConnection
