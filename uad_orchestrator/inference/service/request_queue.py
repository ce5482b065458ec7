"""One detector for many callers: a worker thread inspects the images that wait, several at once."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from uad_orchestrator.detectors.anomalib.trusted_files import UntrustedFile
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.infer import infer
from uad_orchestrator.inference.results import InferenceResult
from uad_orchestrator.memory.nearest import WrongDimension
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint

WARM_UP = (256, 256, 3)

BATCH = 32
"""Images at most that are inspected at once: more of them hardly take less time each."""

BATCH_PIXELS = 64_000_000
"""Their pixels, decoded, unless one image alone has more: some 200 MB of 8-bit RGB."""


class WorkerEnded(RuntimeError):
    """Nothing inspects images any more; the service has to be started again."""


@dataclass(eq=False)
class _Request:
    source: ImageSource
    pixels: int
    answer: Future[InferenceResult] = field(default_factory=Future)


class RequestQueue:
    """Inspects images that any thread hands in; images are decoded when their turn comes.

    Those that wait when the worker is ready are inspected together, and none waits for others to come.

    Use it as a context manager: inside, the worker runs, and embedder and state are loaded.

    Args:
        detector: fitted; nobody else may use it meanwhile.
        batch_size: images at most that are inspected together; 1: one by one.
        review_point: where review begins; None: nothing is reviewed.
        include_files: results have files and looks, too.
    """

    def __init__(
        self,
        detector: Detector,
        batch_size: int = BATCH,
        review_point: OperatingPoint | None = None,
        include_files: bool = False,
    ) -> None:
        self.detector = detector
        self.batch_size = batch_size
        self.review_point = review_point
        self.include_files = include_files
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="uad-inference", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the worker runs."""
        return self._thread.is_alive()

    def submit(self, source: ImageSource, pixels: int = 0) -> Future[InferenceResult]:
        """Hand in an image.

        Args:
            source: decoded in the worker's thread.
            pixels: that it will have, where that is known.

        Returns:
            its result, or what reading it or the detector raised, or WorkerEnded; cancel it, and it is passed over.
        """
        request = _Request(source, pixels)
        with self._changed:
            if self._ended:
                request.answer.set_exception(_ended())
            else:
                self._waiting.append(request)
                self._changed.notify()
        return request.answer

    def __enter__(self) -> RequestQueue:
        self._thread.start()
        try:
            warm_up = ImageSource.from_array(np.zeros(WARM_UP, np.uint8), name="warm-up")
            self.submit(replace(warm_up, scaled=True)).result()
        except Exception as error:
            # A preset may take images of one size alone: what is wrong with an image is told who sends it.
            if isinstance(error, UntrustedFile | WrongDimension) or not isinstance(error, ValueError):
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while batch := self._next_batch():
                self._inspect(batch)
        finally:
            self._end()

    def _next_batch(self) -> list[_Request]:
        """The requests that wait, as many as fit; empty at the end."""
        batch: list[_Request] = []
        while not batch:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return []
                pixels = 0
                while self._waiting and len(batch) < self.batch_size:
                    pixels += self._waiting[0].pixels
                    if batch and pixels > BATCH_PIXELS:
                        break
                    request = self._waiting.popleft()
                    if request.answer.set_running_or_notify_cancel():
                        batch.append(request)
        return batch

    def _inspect(self, batch: list[_Request]) -> None:
        waiting = {f"request {id(request)}": request for request in batch}

        def unreadable(source: ImageSource, error: ImageError) -> None:
            waiting.pop(source.digest).answer.set_exception(error)

        sources = [replace(request.source, digest=digest) for digest, request in waiting.items()]
        try:
            results = infer(
                self.detector,
                sources,
                include_files=self.include_files,
                batch_size=len(batch),
                on_unreadable=unreadable,
                review_point=self.review_point,
            )
            for result in results:
                waiting.pop(next(iter(waiting))).answer.set_result(result)
        except Exception as error:  # goes to whoever sent the image; the next one has its turn
            left = list(waiting.values())
            if len(batch) == 1:
                left[0].answer.set_exception(error)
                return
            for request in left:  # which of them it was shows when each is alone
                self._inspect([request])
        except BaseException:
            for request in waiting.values():
                request.answer.set_exception(_ended())
            raise

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            left, self._waiting = self._waiting, deque()
        for request in left:
            if request.answer.set_running_or_notify_cancel():
                request.answer.set_exception(_ended())


def _ended() -> WorkerEnded:
    return WorkerEnded("the thread that inspects images has ended: start the service again")
