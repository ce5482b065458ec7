"""An S3 server of our own for tests, moto's: it keeps a log of requests, and goes wrong where a test asks for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

BUCKET = "benchmarks"

Application = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]
Fault = Callable[[WSGIEnvironment, StartResponse, Application], Iterable[bytes]]


@dataclass
class ObjectStore:
    """A running server; requests are taken one after another, as S3 decides about one key.

    Attributes:
        application: moto's.
        url: where it listens.
        requests: ``PUT artifacts/...``, in order; what a test does not want counted it clears.
    """

    application: Application
    url: str = ""
    requests: list[str] = field(default_factory=list)
    _faults: list[tuple[str, str, Fault]] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._turn:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
            self.requests.append(f"{method} {path}{query}")
            for fault in list(self._faults):
                if method == fault[0] and path.endswith(fault[1]):
                    return fault[2](environ, start_response, self.application)
            return list(self.application(environ, start_response))

    @contextmanager
    def going_wrong(self, method: str, end: str, fault: Fault, times: int = 1 << 30) -> Iterator[None]:
        """The next requests of that method whose path ends so go the way of ``fault``."""
        left = times

        def counted(
            environ: WSGIEnvironment, start_response: StartResponse, application: Application
        ) -> Iterable[bytes]:
            nonlocal left
            if left <= 0:
                return list(application(environ, start_response))
            left -= 1
            return fault(environ, start_response, application)

        self._faults.append((method, end, counted))
        try:
            yield
        finally:
            self._faults.remove((method, end, counted))

    def folder(self) -> str:
        """A URL of its own, for one test."""
        return f"s3://{BUCKET}/{uuid4().hex}"


def cut_after(environ: WSGIEnvironment, start_response: StartResponse, application: Application) -> Any:
    """The request is done, but its answer never arrives."""
    list(application(environ, start_response))
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionError("cut")


def ignore_condition(
    environ: WSGIEnvironment, start_response: StartResponse, application: Application
) -> Any:
    """As a store that does not know ``If-None-Match``: it overwrites."""
    environ.pop("HTTP_IF_NONE_MATCH", None)
    return list(application(environ, start_response))


def answer(status: str, code: str) -> Fault:
    """Refused with an error of S3's, nothing done."""

    def refuse(environ: WSGIEnvironment, start_response: StartResponse, application: Application) -> Any:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        said = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))])
        return [said]

    return refuse


@contextmanager
def running_store() -> Iterator[ObjectStore]:
    """A server with a bucket, until the block ends; s3fs finds it by the environment."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import logging

    import s3fs
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    store = ObjectStore(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    settings = {
        "AWS_ENDPOINT_URL": store.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",  # pragma: allowlist secret
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr(logging.getLogger("werkzeug"), "level", logging.ERROR)
        s3fs.S3FileSystem.clear_instance_cache()
        with suppress(FileExistsError):  # moto's buckets outlive a server of the same process
            s3fs.S3FileSystem().mkdir(BUCKET)
        yield store
        s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
