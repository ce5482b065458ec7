"""Who may ask the service: a bearer token, and the host names it is asked under."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from uad_orchestrator.storage.regular_file import read_regular

SHORTEST_TOKEN = 16
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: that every request has to bring as ``Authorization: Bearer``; None: none.
        hosts: that a request's ``Host`` may name; None: any. It keeps a web page, whose own name was made to lead to
            this machine, from asking a service that only this machine reaches.
    """

    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] | None = None

    def middleware(self) -> list[Middleware]:
        """What holds requests to it, for Starlette."""
        checks = []
        if self.hosts is not None:
            checks.append(
                Middleware(TrustedHostMiddleware, allowed_hosts=list(self.hosts), www_redirect=False)
            )
        if self.token is not None:
            checks.append(
                Middleware(AuthenticationMiddleware, backend=_BearerToken(self.token), on_error=_refused)
            )
        return checks


ANYBODY = Access()
"""For a service that something else guards."""


def local_hosts(host: str, further: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """The host names that a service on this machine alone is asked under; None for one that listens elsewhere.

    Args:
        host: the address it listens on.
        further: names under which a proxy asks for it; without any, one that listens elsewhere takes all names.

    >>> local_hosts("0.0.0.0")
    >>> "localhost" in local_hosts("127.0.0.1")
    True
    """
    if is_local(host):
        return (*LOCAL_HOSTS, host, *further)
    return further or None


def is_local(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> [is_local(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "line7.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it.

    Raises:
        ValueError: it is shorter than 16 characters, or holds other than printable ASCII.
        OSError: the file cannot be read.
    """
    token = read_regular(path).decode(errors="replace").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(
            f"{path}: a token is one word of {SHORTEST_TOKEN} printable ASCII characters or more; "
            "`openssl rand -hex 32` makes one"
        )
    return token


@dataclass(frozen=True)
class _BearerToken(AuthenticationBackend):
    token: str = field(repr=False)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        scheme, _, given = conn.headers.get("authorization", "").partition(" ")
        # In constant time: how long it takes says nothing of how much of a guess was right.
        right = hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise AuthenticationError("expected the header Authorization: Bearer, with the service's token")
        return AuthCredentials(["infer"]), SimpleUser("bearer")


def _refused(conn: HTTPConnection, error: Exception) -> Response:
    headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
    return JSONResponse({"error": str(error)}, status_code=401, headers=headers)
