"""The latest responses of a detector: scores, labels and maps of the same images cost one pass."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.images.source import ImageSource

REMEMBERED = 1 << 20
"""Patch scores kept, of the latest responses."""

Respond = Callable[[Iterable[ImageSource]], Iterator[Response]]
"""Answers images in order: ``Detector.respond`` with its state."""


class LatestResponses:
    """Responses of one state by the image's content, the oldest dropped first.

    Args:
        together: whether an image's score depends on those it is scored with: then only the latest answer to all of
            them is kept.
    """

    def __init__(self, *, together: bool) -> None:
        self.together = together
        self.forget()

    def forget(self) -> None:
        """Another state gives other responses."""
        self._recent: OrderedDict[str, Response] = OrderedDict()
        self._held_scores = 0
        self._all: tuple[list[str], list[Response]] = ([], [])

    def responses(self, sources: Sequence[ImageSource], respond: Respond) -> Iterator[Response]:
        """The responses to images, in order.

        Args:
            sources: the images.
            respond: is asked for those that are not remembered.

        Returns:
            A response per image.
        """
        return self._of_all(sources, respond) if self.together else self._in_order(sources, respond)

    def _of_all(self, sources: Sequence[ImageSource], respond: Respond) -> Iterator[Response]:
        digests = [source.digest for source in sources]
        if digests != self._all[0]:
            self._all = (digests, list(respond(sources)))
        return iter(self._all[1])

    def _in_order(self, sources: Sequence[ImageSource], respond: Respond) -> Iterator[Response]:
        """Those remembered, and the others in one pass; images of one content are one image."""
        known = {s.digest: self._recent[s.digest] for s in sources if s.digest in self._recent}
        copies = Counter(source.digest for source in sources)
        answers = respond({s.digest: s for s in sources if s.digest not in known}.values())
        for source in sources:
            response = known.get(source.digest)
            if response is None:
                response = next(answers)
                if copies[source.digest] > 1:
                    known[source.digest] = response
            self._remember(source.digest, response)
            yield response

    def _remember(self, digest: str, response: Response) -> None:
        self._held_scores -= _held(self._recent.pop(digest, None))
        self._recent[digest] = response
        self._held_scores += _held(response)
        while self._held_scores > REMEMBERED:
            _, oldest = self._recent.popitem(last=False)
            self._held_scores -= _held(oldest)


def _held(response: Response | None) -> int:
    """Patch scores that are held with a response."""
    if response is None:
        return 0
    return 1 if response.patch_grid is None else response.patch_grid.size
