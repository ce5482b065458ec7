"""The application behind the page. What it is sent is never taken for a path: images are named by digest and record id.

``GET /api/waiting``, ``/api/judged``, ``/api/categories``, ``/api/since``; ``POST /api/judgements`` and ``/api/undo``;
``GET /pictures/<record id>`` and ``/maps/<record id>``. Every error is JSON: ``{"error": "..."}``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.inference.service.access import Access, local_hosts
from uad_orchestrator.review.category_review import JudgedMeanwhile
from uad_orchestrator.review.filing import CannotJudge
from uad_orchestrator.review.judgement import Verdict
from uad_orchestrator.review.page.answers import category_json, judged_json, judgement_json, queue_json
from uad_orchestrator.review.page.page_access import PageAccess
from uad_orchestrator.review.review import NotThere, Review

HOST = "127.0.0.1"
LARGEST_BODY = 16 * 1024

_FILES = Path(__file__).parent / "files"
_SHOWN = {
    "/": ("review.html", "text/html"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
}
_STATUS: dict[type[Exception], HTTPStatus] = {
    NotThere: HTTPStatus.NOT_FOUND,
    JudgedMeanwhile: HTTPStatus.CONFLICT,
    CannotJudge: HTTPStatus.UNPROCESSABLE_ENTITY,
    ImageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TimeoutError: HTTPStatus.SERVICE_UNAVAILABLE,
    OSError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


Said = TypeVar("Said", bound=BaseModel)


class JudgementRequest(BaseModel):
    """What the page says of an image."""

    model_config = ConfigDict(extra="forbid", strict=True)

    category: str
    digest: str
    verdict: Verdict
    defect_type: str | None = None
    seen: str | None = None


class UndoRequest(BaseModel):
    """Which judgement the page takes back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    category: str
    id: str


def create_page(review: Review, token: str) -> Starlette:
    """The ASGI application.

    Args:
        review: what is shown and judged.
        token: what the page's address has to hold.
    """
    page = Page(review)
    return Starlette(
        routes=[
            *(Route(path, _shown(*file)) for path, file in _SHOWN.items()),
            Route("/api/waiting", page.waiting),
            Route("/api/judged", page.judged),
            Route("/api/categories", page.categories),
            Route("/api/since", page.since),
            Route("/api/judgements", page.judge, methods=["POST"]),
            Route("/api/undo", page.undo, methods=["POST"]),
            Route("/pictures/{record}", page.picture),
            Route("/maps/{record}", page.anomaly_map),
        ],
        middleware=[
            *Access(hosts=local_hosts(HOST)).middleware(),
            Middleware(PageAccess, token=token),
        ],
        exception_handlers={HTTPException: _http_error} | dict.fromkeys(_STATUS, _said),
    )


@dataclass(frozen=True)
class Page:
    """The endpoints; those that are no coroutines run in threads."""

    review: Review

    def waiting(self, request: Request) -> Response:
        """What waits; ``?order=score``: the most anomalous first."""
        order: Literal["newest", "score"] = (
            "score" if request.query_params.get("order") == "score" else "newest"
        )
        return JSONResponse(queue_json(self.review, self.review.queue(order)))

    def judged(self, request: Request) -> Response:
        """What was judged."""
        return JSONResponse(judged_json(self.review, self.review.judged()))

    def categories(self, request: Request) -> Response:
        """Who reviews, and of each category the types of its defects and what cannot be said."""
        found = [
            category_json(review, self.review.types(name)) for name, review in self.review.categories.items()
        ]
        return JSONResponse({"by": self.review.by, "categories": found})

    def since(self, request: Request) -> Response:
        """The judged images, decided again by the cells as they are now."""
        return JSONResponse({"cells": [outcome.to_json() for outcome in self.review.outcome()]})

    async def judge(self, request: Request) -> Response:
        """Judge an image."""
        said = await _body(request, JudgementRequest)
        judged = await run_in_threadpool(
            self.review.judge, said.category, said.digest, said.verdict, said.defect_type, said.seen
        )
        return JSONResponse(judgement_json(judged), HTTPStatus.CREATED)

    async def undo(self, request: Request) -> Response:
        """Take a judgement back."""
        said = await _body(request, UndoRequest)
        return JSONResponse(judgement_json(await run_in_threadpool(self.review.undo, said.category, said.id)))

    def picture(self, request: Request) -> Response:
        """The picture of a record."""
        return _jpeg(self.review.picture(request.path_params["record"], with_map=False))

    def anomaly_map(self, request: Request) -> Response:
        """The same with its anomaly map over it."""
        return _jpeg(self.review.picture(request.path_params["record"], with_map=True))


async def _body(request: Request, kind: type[Said]) -> Said:
    """The JSON of a request; a type that no form of another site can send."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "expected the content type application/json")
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_BODY:
            raise HTTPException(413, f"expected {LARGEST_BODY} bytes at most")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise HTTPException(400, "; ".join(faults)) from error


def _shown(name: str, media_type: str) -> Callable[[Request], Response]:
    text = (_FILES / name).read_text(encoding="utf-8")
    return lambda request: Response(text, media_type=media_type)


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _said(request: Request, error: Exception) -> Response:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    return JSONResponse({"error": str(error)}, status)


def _http_error(request: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
