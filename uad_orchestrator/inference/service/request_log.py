"""An id for every request, which its answer carries, and what the service logs, as text or as JSON."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import Any, Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LogFormat = Literal["text", "json"]

REQUEST_ID = "X-Request-ID"
LOGGER = "uad_orchestrator.service"
RECORDS_LOGGER = "uad_orchestrator.inference"
"""Of the modules that record and send results."""

_TAKEN_OVER = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """An ASGI application around another: request ids, a record per request, faults with their traceback.

    Args:
        app: it answers faults of its own, as Starlette does, before it raises them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = logging.getLogger(LOGGER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        known = {
            "request_id": given if _TAKEN_OVER.fullmatch(given) else uuid.uuid4().hex,
            "client": (scope.get("client") or ("", 0))[0],
            "method": scope["method"],
            "path": scope["path"],
        }
        scope.setdefault("state", {})["request_id"] = known["request_id"]
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = known["request_id"]
            await send(message)

        fault: Exception | None = None
        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:  # it has been answered with 500; here it is told to who runs the service
            fault = error
        told: dict[str, Any] = {**known, "status": status, "seconds": time.perf_counter() - started}
        level = logging.INFO if fault is None else logging.ERROR
        self._log.log(level, "%(method)s %(path)s %(status)s", told, extra={"request": told}, exc_info=fault)


def request_id(request: Request) -> str:
    """The id of a request, inside the application."""
    return str(request.state.request_id)


class JsonFormatter(logging.Formatter):
    """A JSON object per line: time, level, logger, message; of a request its id, client, status and seconds."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        values: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "request", {}),
        }
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values)


def log_config(log_format: LogFormat) -> dict[str, Any]:
    """How the service logs to standard error, for ``logging.config.dictConfig``.

    Args:
        log_format: ``text`` for warnings and faults alone; ``json`` for every request, too.
    """
    line = {"format": "%(levelname)s: %(message)s"} if log_format == "text" else {"()": JsonFormatter}
    own = "WARNING" if log_format == "text" else "INFO"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            LOGGER: {"handlers": ["stderr"], "level": own, "propagate": False},
            RECORDS_LOGGER: {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        },
    }
