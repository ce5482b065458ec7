"""The HTTP service of one bundle: an image in, JSON out. What it is sent is never taken for a path.

``POST /infer`` with an image file as the body, or as the one file of a multipart form; ``?map=tiff`` (float32)
or ``?map=png`` (16 bit, with the values of its ends) adds the anomaly map, in base64. ``GET /health`` says
which bundle answers, ``GET /metrics`` is for Prometheus. Every error is JSON: ``{"error": "..."}``.
"""

from __future__ import annotations

import asyncio
import base64
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from uad_orchestrator.images.decode import ImageError, encoded_header
from uad_orchestrator.images.header import ImageTooLarge
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.source import encoded_source
from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.inference.request_queue import RequestQueue
from uad_orchestrator.inference.results import InferenceResult
from uad_orchestrator.inference.service_metrics import ServiceMetrics

MAP_FORMATS = ("tiff", "png")


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        body_bytes: of a request.
        pixels: of a decoded image.
        requests: under way at once, waiting ones included; more are told to come again.
    """

    body_bytes: int = 32 * 2**20
    pixels: int = 50_000_000
    requests: int = 128


def create_app(bundle: Bundle, requests: RequestQueue, limits: Limits = Limits()) -> Starlette:
    """The ASGI application.

    Args:
        bundle: what is told of under ``/health``.
        requests: running, with the bundle's detector.
        limits: what a request may cost.
    """
    service = Service(bundle, requests, limits, ServiceMetrics())
    return Starlette(
        routes=[
            Route("/infer", service.infer, methods=["POST"]),
            Route("/health", service.health),
            Route("/metrics", service.prometheus),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _fault},
    )


@dataclass(frozen=True)
class Service:
    """The endpoints."""

    bundle: Bundle
    requests: RequestQueue
    limits: Limits
    metrics: ServiceMetrics

    @property
    def _reading(self) -> ReadingSettings:
        """As the bundle's images were read, up to the limit of this service."""
        return replace(self.bundle.reading, max_megapixels=self.limits.pixels / 1e6)

    async def health(self, request: Request) -> Response:
        """Ready, and what it runs."""
        calibration = self.bundle.calibration
        points = {"image": calibration.image_point, "pixel": calibration.pixel_point}
        return JSONResponse(
            {
                "status": "ok",
                "bundle": self.bundle.name,
                "model": self.bundle.model,
                "thresholds": {name: point.to_json() for name, point in points.items()},
            }
        )

    async def prometheus(self, request: Request) -> Response:
        """Counters in Prometheus' text format."""
        return Response(self.metrics.text(), media_type=self.metrics.content_type)

    async def infer(self, request: Request) -> Response:
        """Inspect one image."""
        with self.metrics.request() as counted:
            if self.metrics.under_way > self.limits.requests:
                raise counted.refused(503, "too many requests are under way: try again", {"Retry-After": "1"})
            try:
                answer = await self._answer(request)
            except HTTPException as error:
                counted.status = error.status_code
                raise
            counted.status = 200
            return answer

    async def _answer(self, request: Request) -> Response:
        started = time.perf_counter()
        map_format = request.query_params.get("map")
        if map_format is not None and map_format not in MAP_FORMATS:
            raise HTTPException(400, f"map={map_format}: expected one of {', '.join(MAP_FORMATS)}")
        data, name = await self._image(request)
        await run_in_threadpool(self._check_size, data, name)
        answer = self.requests.submit(encoded_source(data, name, self._reading))
        try:
            result = await asyncio.wrap_future(answer)
        except ValueError as error:  # ImageError is one; or the detector cannot take the image
            raise HTTPException(422, str(error)) from error
        values = result.to_json() | {"threshold": _number(self.bundle.calibration.image_point.threshold)}
        if map_format is not None:
            values["map"] = await run_in_threadpool(_encoded_map, result, map_format)
        self.metrics.inspected(result, time.perf_counter() - started)
        return JSONResponse(values)

    async def _image(self, request: Request) -> tuple[bytes, str]:
        """The image's bytes and what to call it."""
        body = await self._body(request)
        data, name = body, "image"
        if request.headers.get("content-type", "").partition(";")[0].strip() == "multipart/form-data":
            data, name = await _uploaded(request, body)
        if not data:
            raise HTTPException(400, "the request is empty: send an image file")
        return data, name

    async def _body(self, request: Request) -> bytes:
        """The body, read no further than the limit."""
        limit, body = self.limits.body_bytes, bytearray()
        announced = request.headers.get("content-length", "0")
        too_large = HTTPException(413, f"the request is larger than {limit} bytes")
        if announced.isdigit() and int(announced) > limit:
            raise too_large
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
        return bytes(body)

    def _check_size(self, data: bytes, name: str) -> None:
        """By the header, before anything is decoded."""
        try:
            encoded_header(data, name, self._reading)
        except ImageTooLarge as error:
            raise HTTPException(413, str(error)) from error
        except ImageError as error:
            raise HTTPException(415, str(error)) from error


async def _uploaded(request: Request, body: bytes) -> tuple[bytes, str]:
    """The one file of a form whose body is already read."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async with Request(request.scope, receive).form(max_files=1, max_fields=16) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(400, f"the form has {len(files)} files: send one image")
        return await files[0].read(), files[0].filename or "image"


def _encoded_map(result: InferenceResult, map_format: str) -> dict[str, Any] | None:
    """The map as a file in base64; None where the detector gives none."""
    from uad_orchestrator.postprocess.map_set import write_map

    made = result.anomaly_map
    if made is None:
        return None
    if map_format == "tiff":
        file = io.BytesIO()
        write_map(file, made)
        return {"format": "tiff", "base64": base64.b64encode(file.getvalue()).decode()}
    import cv2

    low, high = float(made.min()), float(made.max())
    steps = np.rint((made - low) * (65535 / (high - low))) if high > low else np.zeros_like(made)
    _, encoded = cv2.imencode(".png", steps.astype(np.uint16))
    return {
        "format": "png",
        "value_of_0": low,
        "value_of_65535": high,
        "base64": base64.b64encode(encoded.tobytes()).decode(),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers: Mapping[str, str] | None = error.headers if isinstance(error, HTTPException) else None
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"error": detail}, status_code=status, headers=headers)


async def _fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"this is a fault of the service: {error}"}, status_code=500)
