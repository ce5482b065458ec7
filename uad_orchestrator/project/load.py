"""Loads a project from the folder that holds its uad.yaml."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import yaml

from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.errors import Place, ProjectError, SettingProblem
from uad_orchestrator.project.parsing.reading import project_from_text
from uad_orchestrator.project.project import Project
from uad_orchestrator.project.settings import PROJECT_FILE
from uad_orchestrator.project.texts import DEMO_YAML
from uad_orchestrator.storage.regular_file import read_regular

logger = logging.getLogger(__name__)

HOME_VARIABLE = "UAD_HOME"
"""``UAD_HOME``, the environment variable that names the project's folder."""


def load_project(home: Path, *, allow_missing_files: bool = False) -> Project:
    """The project of ``home / "uad.yaml"``.

    Dataset roots may be unreachable (see ``Project.unreachable``); everything else that is wrong raises.

    Args:
        home: the folder of the project file.
        allow_missing_files: a weight file that is not there is noted in ``Project.missing_files`` instead of
            an error, so that one detector's lost file does not take the others along.

    Returns:
        The project, checked, with every default filled in.

    Raises:
        ProjectError: listing all problems at once, each with its place, line, and what to do.
    """
    text = _read_text(home / PROJECT_FILE)
    return project_from_text(text, home, installed_catalogue(), allow_missing_files)


def demo_project(home: Path) -> Project:
    """The demo project. Its categories are static, and nothing is read or written.

    Args:
        home: the folder it is to lie in.

    Returns:
        The project.

    >>> len(demo_project(Path("uad-demo")).cells())
    9
    """
    return project_from_text(DEMO_YAML, home, installed_catalogue())


def read_project(home: Path) -> Project:
    """What a code location works by: the project file of ``home``, or the demo project where there is none.

    Missing weight files are noted (``Project.missing_files``), and the assets that need them fail.

    Args:
        home: the folder of the project file.

    Returns:
        The project.

    Raises:
        ProjectError: listing all problems at once, each with its place, line, and what to do.
    """
    if (home / PROJECT_FILE).exists():
        return load_project(home, allow_missing_files=True)
    return demo_project(home)


def read_again(loaded: Project) -> Project:
    """The project as its file says now, under the names in Dagster that it was loaded with.

    Definitions that are loaded keep their names: an edited ``dagster`` section counts when they are loaded anew.

    Args:
        loaded: the project as it was loaded.

    Returns:
        The project read anew from the same folder.

    Raises:
        ProjectError: listing all problems at once, each with its place, line, and what to do.
    """
    return read_project(loaded.home).model_copy(update={"dagster": loaded.dagster})


def open_project(home: Path | None = None, *, allow_missing_files: bool = False) -> Project:
    """The project of ``home``, else of UAD_HOME, else of the current folder, else the demo project, with a warning.

    Args:
        home: the folder of the project file.
        allow_missing_files: as for ``load_project``.

    Returns:
        The project.

    Raises:
        ProjectError: the file is wrong; or ``home`` or UAD_HOME names a folder without one.
    """
    named = home or (Path(os.environ[HOME_VARIABLE]) if os.environ.get(HOME_VARIABLE) else None)
    try:
        folder = (named or Path.cwd()).expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # ~nosuchuser, a NUL character
        what = f"names no folder: {error}"
        raise ProjectError(named or Path(), [SettingProblem((), what, "write the path in full")]) from error
    if named is None and not (folder / PROJECT_FILE).exists():
        demo = demo_project(folder)
        logger.warning(
            "There is no %s in %s: this is the demo project. Its images are made up, none of yours is read, and what "
            "is computed goes to %s. `uad init` writes a project of your own; --home or %s names another folder.",
            *(PROJECT_FILE, folder, demo.storage.root, HOME_VARIABLE),
        )
        return demo
    return load_project(folder, allow_missing_files=allow_missing_files)


def open_partly(home: Path | None = None) -> tuple[Project, tuple[SettingProblem, ...]]:
    """The project of ``open_project``; one whose file is wrong in some entries, without these, and what is wrong.

    Missing files are noted (``Project.missing_files``). So everything else that is wrong can be found, too.

    Args:
        home: the folder of the project file.

    Returns:
        The project, and the faults of its file.

    Raises:
        ProjectError: too much is wrong for anything to remain.
    """
    try:
        return open_project(home, allow_missing_files=True), ()
    except ProjectError as error:
        folder, faults, first = error.path.parent, error.problems, error
    try:
        values = yaml.safe_load(_read_text(folder / PROJECT_FILE))
        for fault in faults:
            _drop(values, fault.place)
        text = yaml.safe_dump(values, sort_keys=False)
        return project_from_text(text, folder, installed_catalogue(), allow_missing_files=True), faults
    except (yaml.YAMLError, ProjectError, LookupError, TypeError, AttributeError):
        raise first from None


def _drop(values: dict[str, Any], place: Place) -> None:
    """Take an entry out: a dataset, a preset or a detector alone, of other sections the whole."""
    section = str(place[0])
    if section in ("datasets", "presets", "detectors") and len(place) > 1:
        values[section].pop(place[1], None)
    else:
        values.pop(section, None)


def _read_text(path: Path) -> str:
    try:
        return read_regular(path).decode("utf-8-sig")
    except FileNotFoundError:
        advice = f"`uad init` writes one; or point --home (or UAD_HOME) at the folder that holds {path.name}"
        problem = SettingProblem((), "there is no such file", advice)
    except UnicodeDecodeError as error:
        problem = SettingProblem((), f"is not UTF-8 text ({error.reason})", "save it as UTF-8")
    except OSError as error:
        problem = SettingProblem((), f"cannot be read: {error.strerror or error}")
    raise ProjectError(path, [problem])
