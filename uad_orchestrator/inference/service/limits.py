"""What a request to the service may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What requests may cost: memory, and time that others wait for.

    Attributes:
        body_bytes: of a request.
        held_bytes: of all requests that are being read or have no answer yet, together.
        pixels: of a decoded image.
        requests: whose images are here and have no answer yet; more are told to come again.
        header_seconds: from a connection, or from the last answer on it, to the end of a request's header.
        body_seconds: from there to the end of its body, and for the client to take an answer.
        drain_seconds: that requests under way still have when the service is told to end.
    """

    body_bytes: int = 32 * 2**20
    held_bytes: int = 512 * 2**20
    pixels: int = 50_000_000
    requests: int = 128
    header_seconds: float = 10
    body_seconds: float = 60
    drain_seconds: int = 20


USUAL_LIMITS = Limits()
