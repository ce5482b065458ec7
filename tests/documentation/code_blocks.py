"""The code blocks of README and documentation, each with the marker above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"<!-- ([^>]+) -->\n\Z")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: its file, relative to the repository.
        line: of its first line of code.
        language: what stands behind the fence.
        marker: the comment right above it, ``<!-- marker -->``; empty without one.
        code: what it holds.
    """

    page: str
    line: int
    language: str
    marker: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All blocks in these languages, on all pages."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of one page."""
    text = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        marker = _MARKER.search(text, 0, fence.start())
        line = text.count("\n", 0, fence.start()) + 2
        name = page.relative_to(ROOT).as_posix()
        yield Block(name, line, fence[1], marker[1].strip() if marker else "", fence[2])
