"""The image a request brings: as the body itself, or as the one file of a form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from uad_orchestrator.inference.service.limits import Limits
from uad_orchestrator.inference.service.request_log import request_id

CLOSE = {"Connection": "close"}
"""Of an answer that comes before the body's end: what follows is not waited for."""


class RequestBodies:
    """Reads bodies within the limits of bytes, of all bodies' bytes, and of time.

    Args:
        limits: of the service.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held = 0

    @asynccontextmanager
    async def image(self, request: Request) -> AsyncIterator[tuple[bytes, str]]:
        """The image file's bytes and what to call it; they count as held inside the context.

        Raises:
            HTTPException: 400, 408, 413 or 503; says what was expected.
            ClientDisconnect: the client went away before the body's end.
        """
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self.limits.body_seconds):
                    await self._read(request, body)
            except TimeoutError:
                late = f"the body was not here within {self.limits.body_seconds:g} s"
                raise HTTPException(408, late, CLOSE) from None
            yield await _image_of(request, bytes(body))
        finally:
            self._held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        limit = self.limits.body_bytes
        too_large = HTTPException(413, f"the request is larger than {limit} bytes", CLOSE)
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > limit:
            raise too_large
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise too_large
            if self._held + len(chunk) > self.limits.held_bytes:
                raise HTTPException(
                    503, "too many bytes are under way: try again", {"Retry-After": "1", **CLOSE}
                )
            body += chunk
            self._held += len(chunk)


async def _image_of(request: Request, body: bytes) -> tuple[bytes, str]:
    """The image and its name: the one asked for, else the form's, else the id by which the answer is known, too."""
    data, name = body, ""
    if request.headers.get("content-type", "").partition(";")[0].strip() == "multipart/form-data":
        data, name = await _uploaded(request, body)
    if not data:
        raise HTTPException(400, "the request is empty: send an image file")
    return data, request.query_params.get("name", "").strip() or name or request_id(request)


async def _uploaded(request: Request, body: bytes) -> tuple[bytes, str]:
    """The one file of a form whose body is already read."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async with Request(request.scope, receive).form(max_files=1, max_fields=16) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(400, f"the form has {len(files)} files: send one image")
        return await files[0].read(), files[0].filename or ""
