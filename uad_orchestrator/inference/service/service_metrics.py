"""What the HTTP service tells Prometheus about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException

from uad_orchestrator.inference.records.dropped import KINDS, Kind
from uad_orchestrator.inference.results import InferenceResult


@dataclass
class CountedRequest:
    """A request under way; ``status`` is what it is counted as at its end."""

    status: int = 500


class ServiceMetrics:
    """Counters of one application.

    Args:
        dropped: what could not be recorded or sent, by kind; None: nothing is recorded or sent.

    Attributes:
        under_way: requests that have no answer yet.
        held: those of them whose images are here.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, dropped: Callable[[], Mapping[Kind, int]] | None = None) -> None:
        self.under_way = 0
        self.held = 0
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "uad_requests", "Requests to /infer by HTTP status.", ["status"], registry=self._registry
        )
        self._images = Counter(
            "uad_images", "Images inspected, by label.", ["label"], registry=self._registry
        )
        self._decisions = Counter(
            "uad_decisions",
            "Images inspected, by decision: pass, review, reject.",
            ["decision"],
            registry=self._registry,
        )
        self._remarks = Counter(
            "uad_image_warnings",
            "Warnings of results, by what is unlike the images fitted on, or not read of the file.",
            ["kind"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "uad_request_seconds", "From a request to its answer, waiting included.", registry=self._registry
        )
        self._respond = Histogram(
            "uad_inference_seconds",
            "Decoding, scoring, map and regions of an image.",
            registry=self._registry,
        )
        gauge = Gauge("uad_requests_under_way", "Requests without an answer.", registry=self._registry)
        gauge.set_function(lambda: self.under_way)
        if dropped is not None:
            self._registry.register(_Dropped(dropped))

    @contextmanager
    def request(self) -> Iterator[CountedRequest]:
        """The time of a request."""
        counted = CountedRequest()
        self.under_way += 1
        try:
            yield counted
        finally:
            self.under_way -= 1
            self._requests.labels(str(counted.status)).inc()

    @contextmanager
    def waiting(self, limit: int) -> Iterator[None]:
        """The time in which a request whose image is here waits for its result.

        Raises:
            HTTPException: 503, ``limit`` of them wait already.
        """
        if self.held >= limit:
            raise HTTPException(503, "too many requests are under way: try again", {"Retry-After": "1"})
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    def inspected(self, result: InferenceResult, seconds: float) -> None:
        """An image was inspected; its request took ``seconds``."""
        label = {0: "normal", 1: "anomalous", None: "undecided"}[result.label]
        self._images.labels(label).inc()
        self._decisions.labels(result.decision or "undecided").inc()
        for remark in result.remarks:
            self._remarks.labels(remark.kind).inc()
        self._seconds.observe(seconds)
        self._respond.observe(result.timings.total)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Dropped(Collector):
    """What could not be recorded or sent, counted elsewhere."""

    def __init__(self, counts: Callable[[], Mapping[Kind, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counters as they are now; those of which nothing was dropped, too."""
        text = "Records, pictures and messages that were dropped, by kind."
        family = CounterMetricFamily("uad_records_dropped", text, labels=["kind"])
        for kind in KINDS:
            family.add_metric([kind], self._counts().get(kind, 0))
        yield family
