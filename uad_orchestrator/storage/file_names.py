"""Names of files as text: any bytes but ``/`` and 0 can stand in one, and tables, pages and terminals take less.

Python keeps bytes that are not UTF-8 as lone surrogates (PEP 383), which no table, page or terminal can hold, and a
newline in a name breaks every line it is printed in.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_UNSAFE = "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]"
_ODD = re.compile(_UNSAFE)
_ODD_OR_BACKSLASH = re.compile(f"{_UNSAFE}|\\\\")
_WRITTEN = re.compile(r"\\(\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4})")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_LONG = {written[1]: character for character, written in _SHORT.items()}


def printable(text: object) -> str:
    """A text for people, odd characters escaped; what has none stays as it is.

    >>> printable("a\\nb"), printable("caf\\udce9.png"), printable("plain.png")
    ('a\\\\nb', 'caf\\\\xe9.png', 'plain.png')
    """
    return _ODD.sub(_escaped, str(text))


def table_name(path: str) -> str:
    """A path as tables, pages and artifacts call it: as ``printable``, and ``file_path`` leads back to the file.

    >>> table_name("good/a\\nb.png"), table_name("good/000.png")
    ('good/a\\\\nb.png', 'good/000.png')
    """
    return _ODD_OR_BACKSLASH.sub(_escaped, path)


def file_path(name: str) -> str:
    """The path that ``table_name`` was given.

    >>> file_path(table_name("a\\nb\\\\n caf\\udce9")) == "a\\nb\\\\n caf\\udce9"
    True
    """
    return _WRITTEN.sub(_unescaped, name) if "\\" in name else name


def name_with_digest(name: str, digest: str) -> str:
    """A readable file name that no other content has: cameras number from 0001 again. The same when taken twice.

    >>> name_with_digest("Part 42, left.PNG", "ab12cd34ef56ab12")
    'Part_42_left-ab12cd34ef56.png'
    >>> name_with_digest("Part_42_left-ab12cd34ef56.png", "ab12cd34ef56ab12")
    'Part_42_left-ab12cd34ef56.png'
    """
    behind = f"-{digest[:12]}"
    stem = (
        re.sub(r"[^\w.-]+", "_", PurePosixPath(name).stem).removesuffix(behind).strip("._")[:60].rstrip("._")
    )
    return f"{stem or 'image'}{behind}{PurePosixPath(name).suffix.lower()}"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


def _unescaped(match: re.Match[str]) -> str:
    word = match[1]
    if word in _LONG:
        return _LONG[word]
    code = int(word[1:], 16)
    return chr(code + 0xDC00 if word[0] == "x" else code)
