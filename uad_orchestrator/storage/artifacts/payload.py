"""How the files of an artifact lie in an object store: one object each, a folder of files as one archive.

An artifact with a hundred anomaly maps would else be a hundred requests, each time it is written or fetched.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

PAYLOADS = PurePosixPath("payloads")
"""Below the root, apart from the provenance files, so that these can be listed alone, a thousand a request.

Artifacts written before lie elsewhere: each file an object, in a folder beside the provenance that names it.
"""

ARCHIVE = ".folder.zip"


def object_of(name: str, payload: str) -> str:
    """The object that has a file of an artifact.

    >>> object_of("maps/crack/000.tiff", "payloads/anomaly_maps/mvtec_ad/bottle/patchcore/3f2a/files-1")
    'maps.folder.zip'
    >>> object_of("bank.npz", "payloads/memory_bank/mvtec_ad/bottle/patchcore/3f2a/files-1")
    'bank.npz'
    >>> object_of("maps/crack/000.tiff", "files-1")
    'maps/crack/000.tiff'
    """
    top, slash, _ = name.partition("/")
    return f"{top}{ARCHIVE}" if slash and _is_packed(payload) else name


def by_object(names: Iterable[str], payload: str) -> dict[str, list[str]]:
    """The files in each object of a payload, by the object's name."""
    objects: dict[str, list[str]] = {}
    for name in sorted(names):
        objects.setdefault(object_of(name, payload), []).append(name)
    return objects


def pack(directory: Path, names: Iterable[str], payload: str, aside: Path) -> dict[str, Path]:
    """The objects of a payload as local files; archives are written below ``aside``.

    Args:
        directory: where the files lie.
        names: theirs, as posix paths.
        payload: the payload's name.
        aside: an empty folder.

    Returns:
        By the object's name.
    """
    found = {}
    for place, inside in by_object(names, payload).items():
        found[place] = directory / place
        if not place.endswith(ARCHIVE):
            continue
        found[place] = aside / place
        # not compressed: maps are
        with zipfile.ZipFile(found[place], "w", strict_timestamps=False) as archive:
            for name in inside:
                archive.write(directory / name, name)
    return found


def unpack(archive_file: Path, names: Iterable[str], directory: Path) -> None:
    """Put files out of an archive where they belong below a folder; what is not in it is left out.

    Whoever reads the files holds them to what was written: so nothing is said of a damaged archive here.
    """
    with suppress(zipfile.BadZipFile, EOFError), zipfile.ZipFile(archive_file) as archive:
        for name in set(names) & set(archive.namelist()):
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file)


def _is_packed(payload: str) -> bool:
    return PurePosixPath(payload).is_relative_to(PAYLOADS)
