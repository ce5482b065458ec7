"""Who may use the page: the person who was given its address, and no web page of another site.

The address holds a random token, so that no other user of this machine reaches the pictures. It becomes a cookie at
once, which the browser sends to this host alone and never for another site's page.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageAccess:
    """An ASGI application around the page.

    Args:
        app: the page.
        token: what its address holds.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._instead(Request(scope))
        await (self.app if answer is None else answer)(scope, receive, send_safely)

    def _instead(self, request: Request) -> Response | None:
        """What is answered in the page's place; None: the page answers."""
        if _is_cross_site(request):
            return _refused("pages of other sites may not ask for this")
        given = request.query_params.get("token")
        if given is not None and request.url.path == "/":
            if not self._is_right(given):
                return _refused(
                    "the token is not that of this page: take the address that `uad review` printed"
                )
            answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
            answer.set_cookie(_cookie_name(request), self.token, httponly=True, samesite="strict")
            return answer
        if not self._is_right(request.cookies.get(_cookie_name(request), "")):
            return _refused("open the page by the address that `uad review` printed: it holds a token")
        return None

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())


def page_address(host: str, port: int, token: str) -> str:
    """The address that opens the page."""
    return f"http://{host}:{port}/?{urlencode({'token': token})}"


def _is_cross_site(request: Request) -> bool:
    """Whether a browser says that another site's page asks; other programs say nothing, and need the cookie."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return (origin is not None and origin != own) or site not in (None, "none", "same-origin")


def _cookie_name(request: Request) -> str:
    """Cookies of one host are shared by all its ports."""
    return f"uad_review_{(request.scope.get('server') or ('', 0))[1]}"


def _refused(reason: str) -> Response:
    return JSONResponse({"error": reason}, HTTPStatus.FORBIDDEN)
