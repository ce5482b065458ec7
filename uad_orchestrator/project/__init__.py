"""The project: what uad.yaml says, checked, with every default filled in.

``settings`` has the sections, ``project`` what they make; ``load`` is the way in. From the file's text
(``yaml_text``) ``reading`` makes a Project with the help of ``datasets`` and ``detectors``, or a
``ProjectError`` (``errors``) that lists everything wrong at once.
"""

from uad_orchestrator.project.errors import ProjectError, SettingProblem
from uad_orchestrator.project.load import (
    HOME_VARIABLE,
    demo_project,
    load_project,
    open_project,
    read_again,
    read_project,
)
from uad_orchestrator.project.project import Project
from uad_orchestrator.project.settings import PROJECT_FILE, DatasetSettings, DetectorEntry
from uad_orchestrator.project.texts import DEMO_YAML, INIT_YAML

__all__ = [
    "DEMO_YAML",
    "HOME_VARIABLE",
    "INIT_YAML",
    "PROJECT_FILE",
    "DatasetSettings",
    "DetectorEntry",
    "Project",
    "ProjectError",
    "SettingProblem",
    "demo_project",
    "load_project",
    "open_project",
    "read_again",
    "read_project",
]
