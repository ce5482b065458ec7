"""CSV as people have it: spreadsheets write semicolons or tabs where the comma is decimal, and a byte order mark."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_csv(path: Path) -> Iterator[csv.DictReader[str]]:
    """The rows of a table in UTF-8, parted as its first line is: by commas, semicolons or tabs.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: while reading, it is not UTF-8.
        csv.Error: while reading, it is no table.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        header = stream.readline()
        stream.seek(0)
        yield csv.DictReader(stream, delimiter=max(",;\t", key=header.count))
