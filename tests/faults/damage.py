"""What disks, networks, editors and attackers do to bytes, drawn from a seed."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, draws: random.Random) -> bytes:
    """One to eight bits flipped, anywhere."""
    changed = bytearray(data)
    for _ in range(draws.randint(1, 8)):
        changed[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def cut(data: bytes, draws: random.Random) -> bytes:
    """The end is missing, or all of it."""
    return data[: draws.randrange(len(data))]


def zeroed(data: bytes, draws: random.Random) -> bytes:
    """A run of zeros, as a disk gives whose blocks were never written; to the end half of the time."""
    start = draws.randrange(len(data))
    end = len(data) if draws.random() < 0.5 else min(len(data), start + draws.randint(1, 4096))
    return data[:start] + bytes(end - start) + data[end:]


def grown(data: bytes, draws: random.Random) -> bytes:
    """A piece of it once more, somewhere."""
    start, place = draws.randrange(len(data)), draws.randrange(len(data) + 1)
    return data[:place] + data[start : start + draws.randint(1, 4096)] + data[place:]


def header_edited(data: bytes, draws: random.Random) -> bytes:
    """Whole numbers in the first bytes, where sizes and counts stand, become absurd ones."""
    changed = bytearray(data)
    for _ in range(draws.randint(1, 3)):
        place = draws.randrange(max(1, min(len(data), 128) - 4))
        number = draws.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, draws.getrandbits(32)])
        changed[place : place + 4] = struct.pack(draws.choice("<>") + "I", number)
    return bytes(changed)


DAMAGES: dict[str, Damage] = {
    "bits flipped": flipped,
    "cut": cut,
    "zeros": zeroed,
    "grown": grown,
    "header edited": header_edited,
}


class Trap:
    """What runs code where somebody unpickles it: it leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.canary,)  # type: ignore[return-value]


def trapped(canary: Path) -> bytes:
    """A pickle that touches ``canary`` when it is loaded."""
    return pickle.dumps({"state_dict": Trap(canary)})
