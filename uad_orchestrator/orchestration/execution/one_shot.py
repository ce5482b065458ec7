"""The project behind ``uad benchmark``, and the metrics it saves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from uad_orchestrator.orchestration.cells.board import report_of
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import PROJECT_FILE, Project
from uad_orchestrator.storage.atomic import write_text

MARK = "# Written by `uad benchmark`; each call writes it anew.\n"


@dataclass(frozen=True)
class OneShot:
    """What one call asks for.

    Attributes:
        dataset: the layout, and the dataset's name.
        root: its folder.
        categories: their names, or ``("all",)``.
        model: the detector's model, and its name.
        settings: ``key=value``, dots for nested keys, values in YAML.
        device: where the embedder runs.
    """

    dataset: str
    root: Path
    categories: tuple[str, ...]
    model: str
    settings: tuple[str, ...] = ()
    device: str = "auto"

    def write_project(self, output: Path) -> Path:
        """Write the project file into a folder beside ``output``; artifacts are shared with its neighbours.

        Raises:
            FileExistsError: there is a project file that ``uad benchmark`` did not write.
            ValueError: a setting is not of the form key=value.
        """
        home = output.parent / f"{output.stem}.uad"
        path = home / PROJECT_FILE
        if path.exists() and not path.read_text().startswith(MARK):
            raise FileExistsError(f"{path} was not written by `uad benchmark`: choose another --output")
        text = MARK + yaml.safe_dump(self.project(), sort_keys=False)
        write_text(path, text)
        return home

    def project(self) -> dict[str, Any]:
        """The content of the project file."""
        categories = {} if "all" in self.categories else {"categories": list(self.categories)}
        dataset = {"layout": self.dataset, "root": str(self.root.absolute()), **categories}
        return {
            "storage": {"root": "../.uad"},
            "runtime": {"device": self.device},
            "datasets": {self.dataset: dataset},
            "detectors": {self.model: {"model": self.model} | nested_settings(self.settings)},
        }


def nested_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """``key=value`` settings as they would stand in a project file; paths are made absolute by the caller.

    >>> nested_settings(("embedder.name=resnet18", "coreset.ratio=0.01"))
    {'embedder': {'name': 'resnet18'}, 'coreset': {'ratio': 0.01}}
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not all(key.split(".")):
            raise ValueError(f"--set {setting}: expected KEY=VALUE, e.g. --set coreset.ratio=0.01")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {setting}: {text!r} is not a YAML value: {error}") from error
        *parents, last = key.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ValueError(f"--set {setting}: {parent} was set to a plain value before")
        place[last] = _absolute(last, value)
    return found


def _absolute(key: str, value: Any) -> Any:
    """A path given on the command line is relative to the current folder, not to the written project file."""
    is_file = (
        key in ("weights", "checkpoint")
        and isinstance(value, str)
        and not value.startswith(("hub:", "random:"))
    )
    if not is_file:
        return value
    try:
        return str(Path(value).expanduser().absolute())
    except RuntimeError as error:
        raise ValueError(f"--set {key}: {value}: there is no such user") from error


def save_metrics(project: Project, output: Path) -> bool:
    """Write the reports of all cells: a metrics.json for one category, ``{"reports": [...]}`` of them for several.

    A cell without a report is left out; the command's exit status says so.

    Returns:
        Whether there was any report; else nothing is written.
    """
    state, store = open_state(project), open_store(project)
    reports = [json.loads(r.to_json()) for cell in state.cells if (r := report_of(cell, state, store))]
    if not reports:
        return False
    values: Any = reports[0] if len(state.cells) == 1 else {"reports": reports}
    write_text(output, json.dumps(values, indent=1, allow_nan=False) + "\n")
    return True
