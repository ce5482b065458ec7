"""One detector for many callers: a worker thread inspects their images one after the other."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from uad_orchestrator.detectors.anomalib.trusted_files import UntrustedFile
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.infer import infer
from uad_orchestrator.inference.results import InferenceResult

WARM_UP = (256, 256, 3)


@dataclass(eq=False)
class _Request:
    source: ImageSource
    answer: Future[InferenceResult] = field(default_factory=Future)


class RequestQueue:
    """Inspects images that any thread hands in; images are decoded when their turn comes.

    Use it as a context manager: inside, the worker runs, and embedder and state are loaded.

    Args:
        detector: fitted; nobody else may use it meanwhile.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="uad-inference", daemon=True)

    def submit(self, source: ImageSource) -> Future[InferenceResult]:
        """Hand in an image.

        Args:
            source: decoded in the worker's thread.

        Returns:
            its result, or what reading it or the detector raised; cancel it, and it is passed over.
        """
        request = _Request(source)
        self._requests.put(request)
        return request.answer

    def __enter__(self) -> RequestQueue:
        self._thread.start()
        try:
            warm_up = ImageSource.from_array(np.zeros(WARM_UP, np.uint8), name="warm-up")
            self.submit(replace(warm_up, scaled=True)).result()
        except Exception as error:
            # A preset may take images of one size alone: what is wrong with an image is told who sends it.
            if isinstance(error, UntrustedFile) or not isinstance(error, ValueError):
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            if request.answer.set_running_or_notify_cancel():
                self._inspect(request)

    def _inspect(self, request: _Request) -> None:
        source = replace(request.source, digest=f"request {id(request)}")
        try:
            (result,) = infer(self.detector, [source], batch_size=1)
        except Exception as error:  # goes to whoever sent the image; the next one has its turn
            request.answer.set_exception(error)
        else:
            request.answer.set_result(result)
