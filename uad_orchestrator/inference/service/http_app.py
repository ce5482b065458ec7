"""The HTTP service of one bundle: an image in, JSON out. What it is sent is never taken for a path.

``POST /infer`` with an image file as the body, or as the one file of a multipart form; ``?map=tiff`` (float32)
or ``?map=png`` (16 bit, with the values of its ends) adds the anomaly map, in base64; ``?name=part-17``
names the image in answer and record. ``GET /health`` says which bundle answers, ``GET /metrics`` is for
Prometheus. Every error is JSON: ``{"error": "..."}``.
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
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.file_facts import encoded_header
from uad_orchestrator.images.header import ImageTooLarge
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.source import ImageSource, encoded_source
from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.inference.line_output import LineOutput
from uad_orchestrator.inference.results import InferenceResult
from uad_orchestrator.inference.service.access import ANYBODY, Access
from uad_orchestrator.inference.service.limits import USUAL_LIMITS, Limits
from uad_orchestrator.inference.service.request_body import RequestBodies
from uad_orchestrator.inference.service.request_log import RequestLog
from uad_orchestrator.inference.service.request_queue import RequestQueue, WorkerEnded
from uad_orchestrator.inference.service.service_metrics import ServiceMetrics

MAP_FORMATS = ("tiff", "png")

CLIENT_GONE = 499
"""The status such requests are counted under; nobody reads it."""


def create_app(
    bundle: Bundle,
    requests: RequestQueue,
    limits: Limits = USUAL_LIMITS,
    access: Access = ANYBODY,
    line: LineOutput | None = None,
) -> ASGIApp:
    """The ASGI application.

    Args:
        bundle: what is told of under ``/health``.
        requests: running, with the bundle's detector.
        limits: what requests may cost.
        access: who may ask, and under which host names.
        line: where each result goes besides its answer; the results of ``requests`` then have to have files.
    """
    metrics = ServiceMetrics(None if line is None else line.dropped.counts)
    service = Service(bundle, requests, limits, RequestBodies(limits), metrics, line)
    return RequestLog(
        Starlette(
            routes=[
                Route("/infer", service.infer, methods=["POST"]),
                Route("/health", service.health),
                Route("/metrics", service.prometheus),
            ],
            middleware=access.middleware(),
            exception_handlers={HTTPException: _http_error, Exception: _fault},
        )
    )


@dataclass(frozen=True)
class Service:
    """The endpoints."""

    bundle: Bundle
    requests: RequestQueue
    limits: Limits
    bodies: RequestBodies
    metrics: ServiceMetrics
    line: LineOutput | None = None

    @property
    def _reading(self) -> ReadingSettings:
        """As the bundle's images were read, up to the limit of this service."""
        return replace(self.bundle.reading, max_megapixels=self.limits.pixels / 1e6)

    async def health(self, request: Request) -> Response:
        """Ready, and what it runs; 503 where nothing inspects images any more."""
        calibration = self.bundle.calibration
        points = {"image": calibration.image_point, "pixel": calibration.pixel_point}
        if calibration.review_point is not None:
            points["review"] = calibration.review_point
        alive = self.requests.alive
        return JSONResponse(
            {
                "status": "ok"
                if alive
                else "the thread that inspects images has ended: start the service again",
                "bundle": self.bundle.name,
                "model": self.bundle.model,
                "thresholds": {name: point.to_json() for name, point in points.items()},
            },
            status_code=200 if alive else 503,
        )

    async def prometheus(self, request: Request) -> Response:
        """Counters in Prometheus' text format."""
        return Response(self.metrics.text(), media_type=self.metrics.content_type)

    async def infer(self, request: Request) -> Response:
        """Inspect one image."""
        with self.metrics.request() as counted:
            try:
                answer = await self._answer(request)
            except HTTPException as error:
                counted.status = error.status_code
                raise
            except ClientDisconnect:
                answer = Response(status_code=CLIENT_GONE)
            except asyncio.CancelledError:  # by the server, when the time to drain is over
                answer = JSONResponse({"error": "the service is ending"}, 503, {"Connection": "close"})
            counted.status = answer.status_code
            return answer

    async def _answer(self, request: Request) -> Response:
        started = time.perf_counter()
        map_format = request.query_params.get("map")
        if map_format is not None and map_format not in MAP_FORMATS:
            raise HTTPException(400, f"map={map_format}: expected one of {', '.join(MAP_FORMATS)}")
        async with self.bodies.image(request) as (data, name):
            with self.metrics.waiting(self.limits.requests):
                pixels = await run_in_threadpool(self._checked_size, data, name)
                result = await self._result(request, encoded_source(data, name, self._reading), pixels)
                if self.line is not None:  # in a thread: a disk may take its time
                    await run_in_threadpool(self.line.take, result)
                known = self.bundle.calibration
                values = result.to_json() | {
                    "threshold": _number(known.image_point.threshold),
                    "review_threshold": _number(known.review_threshold),
                }
                if map_format is not None:
                    values["map"] = await run_in_threadpool(_encoded_map, result, map_format)
        self.metrics.inspected(result, time.perf_counter() - started)
        return JSONResponse(values)

    async def _result(self, request: Request, source: ImageSource, pixels: int) -> InferenceResult:
        """The image's result, waited for as long as the client does; one that went away leaves the queue."""
        answer = asyncio.wrap_future(self.requests.submit(source, pixels))
        gone = asyncio.ensure_future(_gone(request))
        first: set[asyncio.Future[Any]] = {answer, gone}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        except WorkerEnded as error:
            raise HTTPException(503, str(error)) from error
        except ValueError as error:  # ImageError is one; or the detector cannot take the image
            raise HTTPException(422, str(error)) from error
        finally:
            answer.cancel()
            gone.cancel()

    def _checked_size(self, data: bytes, name: str) -> int:
        """The image's pixels by its header, before anything is decoded."""
        try:
            height, width = encoded_header(data, name, self._reading).size
        except ImageTooLarge as error:
            raise HTTPException(413, str(error)) from error
        except ImageError as error:
            raise HTTPException(415, str(error)) from error
        return height * width


async def _gone(request: Request) -> None:
    """Ends when the client of a request, whose body is here, goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


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


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers: Mapping[str, str] | None = error.headers if isinstance(error, HTTPException) else None
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    if status in (404, 405):  # a browser, say, at the address that was printed
        detail = f"{detail}: POST an image file to /infer; GET /health or /metrics"
    return JSONResponse({"error": detail}, status_code=status, headers=headers)


async def _fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"this is a fault of the service: {error}"}, status_code=500)
