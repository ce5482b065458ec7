"""Whether what a project writes has a place: disks large enough, folders that may be written to, stores that answer;
and whether what is stored is still what was written.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from uad_orchestrator.orchestration.services.project_check.disk import DiskNeed
from uad_orchestrator.orchestration.services.project_check.problem import ProjectProblem
from uad_orchestrator.orchestration.versions.stores import open_store
from uad_orchestrator.project import Project
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.artifacts.first_writer import OVERWRITES
from uad_orchestrator.storage.artifacts.remote_location import RemoteLocation
from uad_orchestrator.storage.shared_embeddings import SHARED, shared_spaces


def storage_problems(project: Project, need: DiskNeed) -> Iterator[ProjectProblem]:
    """What is wrong with ``storage.root`` and ``storage.local``; nothing is left behind."""
    root, local = project.storage.root, Path(project.storage.local)
    yield from _folder_problems("storage.local", local)
    if RemoteLocation.is_remote(root):
        yield from _remote_problems(project)
        yield from _space_problems("storage.local", local, need.embeddings)
        return
    if Path(root) != local:
        yield from _folder_problems("storage.root", Path(root))
    shared = need.embeddings if project.storage.embeddings == "shared" else 0
    if _disk(Path(root)) == _disk(local):
        yield from _space_problems("storage", local, need.bytes + shared)
    else:
        yield from _space_problems("storage.root", Path(root), need.artifacts + shared)
        yield from _space_problems("storage.local", local, need.embeddings)


def free_bytes(folder: Path) -> int:
    """What is free on the disk where a folder is, or will be."""
    return shutil.disk_usage(_there(folder)).free


def size_words(count: int) -> str:
    """A size for people.

    >>> size_words(1_500_000_000), size_words(2_000_000)
    ('1.5 GB', '2 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _folder_problems(where: str, folder: Path) -> Iterator[ProjectProblem]:
    there = _there(folder)
    if not there.is_dir():
        yield ProjectProblem(where, f"{there} is a file where a folder is expected")
        return
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield ProjectProblem(where, f"{there} cannot be written to: {error.strerror or error}")


def _space_problems(where: str, folder: Path, needed: int) -> Iterator[ProjectProblem]:
    if needed > (free := free_bytes(folder)):
        said = f"about {size_words(needed)} will be needed in {folder}, {size_words(free)} are free"
        yield ProjectProblem(where, said)


def artifact_problems(project: Project) -> Iterator[ProjectProblem]:
    """The artifacts in the store whose files are not what was written: each file is read, nothing is changed."""
    store = open_store(project)
    mend = "`uad refresh --rehash` sets it aside and computes it again where it is needed"
    for key in store.list_folders():
        with suppress(ArtifactError):  # it went meanwhile, or was never finished
            if fault := store.find_damage(key):
                yield ProjectProblem(str(key), f"{fault}: {mend}")


def shared_embeddings_note(project: Project, need: DiskNeed) -> str | None:
    """How large the embeddings in the store are; None where there are none to speak of, or the store does not answer,
    which is a problem of its own."""
    if project.storage.embeddings != "shared":
        return None
    try:
        spaces = shared_spaces(open_store(project).location)
    except Exception:  # said by ``storage_problems``, whatever a store's client raises
        return None
    files = [file for files in spaces.values() for file in files.values()]
    size = size_words(sum(file.bytes for file in files))
    where = f"in {project.storage.root}/{SHARED}, of {len(spaces)} embedders and presets"
    return f"{size} of shared embeddings {where}; about {size_words(need.embeddings)} when all are there"


def _remote_problems(project: Project) -> Iterator[ProjectProblem]:
    """A store must take files; one where the last of two writers stays is used all the same, and that is said."""
    root = project.storage.root
    try:
        location = ArtifactStore(root, Path(project.storage.local)).location
        if isinstance(location, RemoteLocation) and not location.ask_anew():
            yield ProjectProblem("storage.root", OVERWRITES.format(url=root), "warning")
    except ImportError as error:
        yield ProjectProblem("storage.root", f"{root}: {error}")
    except PermissionError as error:
        yield ProjectProblem("storage.root", f"cannot be written to: {error}")
    except Exception as error:  # whatever a store's client raises: this is the edge
        yield ProjectProblem("storage.root", f"cannot be reached: {type(error).__name__}: {error}")


def _there(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def _disk(folder: Path) -> int:
    return _there(folder).stat().st_dev
