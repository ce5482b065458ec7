"""The folder itself: files that say what they were drawn from, and what is removed from it.

Each page and script begins with a digest of all that it shows. So it is known without any list beside it which are
current, whenever a run before was killed; pictures are there before the pages that show them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Set as AbstractSet
from importlib.resources import files
from pathlib import Path, PurePosixPath

from uad_orchestrator import __version__
from uad_orchestrator.storage.atomic import new_file, write_text
from uad_orchestrator.storage.digests import digest_of

LOOK = ("report.css", "report.js", "sliders.js")
LOOK_OF_PAGES = ("pages.css", "report_data.js", "image_list.js", "viewer.js")
SIGN = PurePosixPath("look/report.css")
"""Written first: a folder that has it is a report's."""

OWN_FOLDERS = ("board", "cells", "data", "pictures")
LEFT_BEHIND = 3600
"""Seconds after which a file that was being written counts as left by a writer that was killed."""

_DRAWN_FROM = re.compile(rb"drawn from ([0-9a-f]{64})")


class NotAReport(ValueError):
    """The folder that the report shall take holds something else."""


class ReportFolder:
    """A report's folder, while it is brought up to date.

    Args:
        path: made, if it is not there.

    Raises:
        NotAReport: it holds files, and none that a report begins with.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir() and any(path.iterdir()) and not (path / SIGN).is_file():
            raise NotAReport(
                f"{path} holds other files: a report removes what it does not name, so name a new folder, an empty "
                "one, or that of an earlier report"
            )
        self._look = _look()
        self.look_digest = digest_of({"look": self._look, "version": __version__})
        self._kept: set[PurePosixPath] = set()

    def write_look(self) -> None:
        """Styles and scripts, which all pages share."""
        for name, text in self._look.items():
            target = self.path / "look" / name
            if not name.endswith(".j2") and (not target.is_file() or target.read_text("utf-8") != text):
                write_text(target, text)

    def keep(self, *paths: PurePosixPath) -> None:
        """These files or folders are named by the report."""
        self._kept.update(paths)

    def is_current(self, path: PurePosixPath, key: str) -> bool:
        """Whether a page or script is there, drawn from this."""
        try:
            with (self.path / path).open("rb") as file:
                found = _DRAWN_FROM.search(file.read(200))
        except OSError:
            return False
        return found is not None and found[1].decode() == key

    def holds(self, path: PurePosixPath) -> bool:
        """Whether a file is there."""
        return (self.path / path).is_file()

    def write_page(self, path: PurePosixPath, key: str, html: str) -> None:
        """A page; ``html`` is what follows its doctype."""
        write_text(self.path / path, f"<!doctype html><!-- drawn from {key} -->\n{html}")

    def write_script(self, path: PurePosixPath, key: str, code: str) -> None:
        """A script of data."""
        write_text(self.path / path, f"// drawn from {key}\n{code}\n")

    def write_picture(self, path: PurePosixPath, content: bytes) -> None:
        """A picture, called by what it shows: once there, it stays what it is."""
        with new_file(self.path / path) as aside:
            aside.write_bytes(content)

    def remove_others(self) -> None:
        """What the report does not name any more, in the folders that are its own."""
        kept = {str(path) for path in self._kept}
        for name in OWN_FOLDERS:
            if (self.path / name).is_dir():
                self._remove_others(name, kept)

    def _remove_others(self, folder: str, kept: AbstractSet[str]) -> bool:
        """Whether the folder, relative to the report, is gone itself: it was left empty."""
        with os.scandir(self.path / folder) as found:
            entries = list(found)
        left = len(entries)
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if path in kept:
                continue
            if entry.is_dir(follow_symlinks=False):
                left -= self._remove_others(path, kept)
            elif not _is_being_written(entry):
                Path(entry.path).unlink()
                left -= 1
        if not left:
            (self.path / folder).rmdir()
        return not left


def _is_being_written(entry: os.DirEntry[str]) -> bool:
    """By another run beside this one."""
    return entry.name.startswith(".") and time.time() - entry.stat().st_mtime < LEFT_BEHIND


def _look() -> dict[str, str]:
    """The templates, scripts and styles by name: what pages look like depends on all of them."""
    templates = files("uad_orchestrator.reporting") / "templates"
    found = {name: (templates / name).read_text("utf-8") for name in LOOK}
    found |= {name: (templates / "pages" / name).read_text("utf-8") for name in LOOK_OF_PAGES}
    pages = [
        entry for where in (templates, templates / "pages") for entry in where.iterdir() if entry.is_file()
    ]
    return found | {page.name: page.read_text("utf-8") for page in pages if page.name.endswith(".j2")}
