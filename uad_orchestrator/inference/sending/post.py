"""JSON to a web address by POST; redirects are not followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.request import HTTPRedirectHandler, Request, build_opener


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would become a GET, and might carry credentials elsewhere: it is an error of its own."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def post_json(url: str, message: bytes, headers: Mapping[str, str], seconds: float) -> None:
    """Post, and return when it was answered with 2xx.

    Args:
        url: http or https.
        message: JSON.
        headers: further ones, such as an authorization.
        seconds: for the receiver to take it, and to answer.

    Raises:
        urllib.error.HTTPError: another answer, a redirect among them.
        OSError, http.client.HTTPException: it cannot be reached, or talks something else.
        ValueError: an address that is none.
    """
    about = {"Content-Type": "application/json", "User-Agent": "uad_orchestrator"}
    request = Request(url, message, about | dict(headers), method="POST")
    build_opener(_NoRedirect).open(request, timeout=seconds).close()
