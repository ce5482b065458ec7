"""Records to a webhook: a POST of JSON each, in a thread, tried again while the receiver is away."""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.nap import sleep_using_event

from uad_orchestrator.inference.records.dropped import Dropped
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.sending.post import post_json

WAITING = 1000
"""Records that wait at most to be sent, some 1 KB each; more are dropped."""

POST_SECONDS = 10.0
"""For the receiver to take a record, and to answer."""

RETRY_SECONDS = 300.0
"""How long a record is tried again; meanwhile others wait behind it."""

LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class WebhookAddress:
    """Where records are posted.

    Attributes:
        url: without user and password; path and query may be secret, too, and are never shown.
        headers: who we are, where the address says that.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> WebhookAddress:
        """An address as it is given: ``https://[USER:PASSWORD@]HOST[:PORT]/PATH``.

        Raises:
            ValueError: it is none; the message does not repeat it.
        """
        wrong = ValueError("--webhook: expected http:// or https://, a host, and printable characters only")
        try:
            parts = urlsplit(text)
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError:
            raise wrong from None
        plain = text.isascii() and text.isprintable() and " " not in text
        if scheme not in ("http", "https") or not host or not plain:
            raise wrong
        headers = {}
        if parts.username is not None:
            known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(known.encode()).decode()}"
        bare = f"[{host}]" if ":" in host else host
        netloc = bare if port is None else f"{bare}:{port}"
        return cls(parts._replace(netloc=netloc, fragment="").geturl(), headers)


class Webhook:
    """Posts each record as ``LineRecord.to_json``, in order; one that is not taken is tried again, then dropped.

    Taken is what is answered with 2xx. A record may come twice, where the answer got lost: its ``id`` tells.

    Args:
        address: where to.
        dropped: where is counted what was not sent.
    """

    def __init__(self, address: WebhookAddress, dropped: Dropped) -> None:
        self.address = address
        self.dropped = dropped
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._cut_off = threading.Event()
        self._thread = threading.Thread(target=self._work, name="uad-webhook", daemon=True)
        self._thread.start()

    def send(self, record: LineRecord) -> None:
        """Queue a record; returns at once."""
        message = json.dumps(record.to_json(), allow_nan=False).encode()
        with self._changed:
            if len(self._waiting) < WAITING:
                self._waiting.append(message)
                self._changed.notify()
                return
        self.dropped.add("webhook", f"{WAITING} wait already: the receiver is away, or slower than the line")

    def close(self, seconds: float) -> None:
        """Send what waits, as far as there is time; the rest is dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        self._cut_off.set()
        with self._changed:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self.dropped.add("webhook", f"not taken within {seconds:.0f} s at the end", left)

    def _work(self) -> None:
        while (message := self._next()) is not None:
            try:
                self._post_until_taken(message)
            except (OSError, HTTPException) as error:
                if not self._cut_off.is_set():
                    self.dropped.add("webhook", _reason(error))
            with self._changed:
                if self._waiting:  # else it was dropped meanwhile
                    self._waiting.popleft()

    def _next(self) -> bytes | None:
        """The record whose turn it is, which stays queued until it is sent; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting[0] if self._waiting else None

    def _post_until_taken(self, message: bytes) -> None:
        for attempt in Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT),
            stop=stop_after_delay(RETRY_SECONDS) | stop_when_event_set(self._cut_off),
            sleep=sleep_using_event(self._cut_off),
            reraise=True,
        ):
            with attempt:
                post_json(self.address.url, message, self.address.headers, POST_SECONDS)


def _may_pass(error: BaseException) -> bool:
    """Whether the receiver may take it later: it is away, or says that it has too much to do."""
    if isinstance(error, HTTPError):
        error.close()
        return error.code >= 500 or error.code in (408, 425, 429)
    return isinstance(error, OSError | HTTPException)


def _reason(error: Exception) -> str:
    """What went wrong, without the address."""
    if isinstance(error, HTTPError):
        return f"the receiver answered {error.code}"
    return str(getattr(error, "reason", None) or error or type(error).__name__)
