"""Which checkpoints may be loaded: digests in uad.yaml, and those that ``uad trust`` notes in a file beside it.

Trust is no part of a version: it says what may run here, not what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from uad_orchestrator.project.errors import ProjectError, SettingProblem
from uad_orchestrator.storage.digests import file_digest

TRUST_FILE = "trusted_checkpoints.sha256"
"""In the project's home: a line per file, digest and path, as ``sha256sum`` writes them."""

DIGEST = re.compile(r"[0-9a-fA-F]{64}")

_HEAD = "# Checkpoints that may be loaded, which can run code; `uad trust FILE` adds a line.\n"


def read_trusted(home: Path) -> tuple[str, ...]:
    """The digests of the trust file; none where there is no such file.

    Raises:
        ProjectError: a line that does not begin with a digest.
    """
    path = home / TRUST_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    digests = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if words and not DIGEST.fullmatch(words[0]):
            what = f"{words[0][:80]!r} is no SHA-256 digest (64 hexadecimal digits)"
            raise ProjectError(
                path, [SettingProblem((), what, "`uad trust FILE` writes such a line", number)]
            )
        digests += words[:1]
    return tuple(digest.lower() for digest in digests)


def trust(home: Path, files: Iterable[Path]) -> dict[str, str]:
    """Note the digests of files as trusted; those that are already are not noted twice.

    Returns:
        the digest of each file, by its path.

    Raises:
        FileNotFoundError: a file, or the project's folder, is not there; nothing is noted then.
    """
    found = {str(path): file_digest(path) for path in files}
    known = read_trusted(home)
    new = [f"{digest}  {path}\n" for path, digest in found.items() if digest not in known]
    path = home / TRUST_FILE
    head = "" if path.exists() else _HEAD
    with path.open("a", encoding="utf-8") as file:
        file.write(head + "".join(new))
    return found
