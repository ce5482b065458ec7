"""``uad check``: what is wrong with a project before it costs time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.image_check import check_dataset
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.detectors.anomalib.calibration_folder import calibration_files
from uad_orchestrator.detectors.anomalib.trusted_files import (
    UntrustedFile,
    check_trusted,
    checkpoint_files,
    digests,
    read_files,
)
from uad_orchestrator.embedders.create import weight_file
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.decode import ImageError, check_header
from uad_orchestrator.orchestration.dagster_instance.instance import project_dagster_home
from uad_orchestrator.orchestration.services.disk import estimated_bytes
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.input_contents import fit_settings
from uad_orchestrator.orchestration.versions.weight_paths import calibration_folder, checkpoint_path
from uad_orchestrator.project import Project
from uad_orchestrator.project.catalogue import plugin_notes
from uad_orchestrator.spelling import choose_from
from uad_orchestrator.storage.provenance import package_versions

OnFile = Callable[[str, int, int], None]
"""Called with (category, images of it looked at, images of it in all)."""


@dataclass(frozen=True)
class ProjectProblem:
    """Something wrong: where it is and what is the matter."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True)
class CheckResult:
    """All that was found.

    Attributes:
        problems: what will fail or mislead.
        notes: what is good to know: the estimated disk; the plug-ins, and which of them cannot be used.
        disk_bytes: estimated size of the benchmark's artifacts and embedding cache.
        free_bytes: what is free where they go.
    """

    problems: tuple[ProjectProblem, ...]
    notes: tuple[str, ...]
    disk_bytes: int
    free_bytes: int
    packages: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """``uad check --json``."""
        return asdict(self) | {"problems": [asdict(problem) for problem in self.problems]}


def check_project(project: Project, on_file: OnFile = lambda category, done, total: None) -> CheckResult:
    """Look at datasets (file headers), weights, disk and Dagster's instance; nothing is computed or changed."""
    problems = [
        *(ProjectProblem(f"datasets.{name}", reason) for name, reason in project.unreachable.items()),
        *_dataset_problems(project, on_file),
        *_weight_problems(project),
        *_class_name_problems(project),
        *_checkpoint_problems(project),
        *_calibration_problems(project),
        *_instance_problems(project),
    ]
    needed, free = estimated_bytes(project), _free_bytes(Path(project.storage.local))
    if needed > free:
        problems.append(
            ProjectProblem("storage", f"about {_size(needed)} will be needed, {_size(free)} are free")
        )
    notes = (
        f"{len(project.category_keys())} categories x {len(project.detectors)} detectors",
        f"about {_size(needed)} on disk ({_size(free)} free), nearly all of it patch embeddings and anomaly maps",
        *plugin_notes(),
    )
    return CheckResult(tuple(problems), notes, needed, free, dict(package_versions()))


def _dataset_problems(project: Project, on_file: OnFile) -> Iterator[ProjectProblem]:
    for key in project.category_keys():
        name, category = key.split("/", 1)
        dataset = project.datasets[name]
        if name in project.unreachable or (dataset.layout == "demo" and not Path(dataset.root).exists()):
            continue  # said already; or made by the first refresh
        progress = partial(on_file, key)
        for found in check_dataset(
            dataset.layout,
            dataset.root,
            category,
            layout_settings=dataset.layout_settings,
            exclude=dataset.exclude,
            strictness=dataset.strictness,
            progress=progress,
            reading=project.reading(name),
        ):
            yield ProjectProblem(f"{key}: {found.path}", found.message)


def _weight_problems(project: Project) -> Iterator[ProjectProblem]:
    for name, entry in project.entries().items():
        if entry.embedder is None:
            continue
        try:
            weight_file(entry.embedder, project.home)
        except (OSError, ValueError, ImportError, WeightsError) as error:
            yield ProjectProblem(f"detectors.{name}.embedder", str(error))


def _class_name_problems(project: Project) -> Iterator[ProjectProblem]:
    categories = sorted({key.split("/", 1)[1] for key in project.category_keys()})
    for name, entry in project.entries().items():
        for category in getattr(entry.fit, "class_names", {}):
            if category not in categories:
                advice = choose_from(category, categories)
                yield ProjectProblem(
                    f"detectors.{name}.class_names", f"there is no category {category!r}; {advice}"
                )


def _checkpoint_problems(project: Project) -> Iterator[ProjectProblem]:
    """Models whose package is missing, checkpoints that are not there or not trusted."""
    for name, entry in project.entries().items():
        try:
            fit_settings(entry)
        except ImportError as error:
            yield ProjectProblem(f"detectors.{name}.model", str(error))
    for path, name in _of_cells(project, checkpoint_path).items():
        try:
            check_trusted(digests(read_files(checkpoint_files(path))), project.trusted_checkpoints, path)
        except (OSError, UntrustedFile) as error:
            yield ProjectProblem(f"detectors.{name}.checkpoint", str(error))


def _calibration_problems(project: Project) -> Iterator[ProjectProblem]:
    """Calibration folders that are not there or empty, and images in them that cannot be read."""
    for folder, name in _of_cells(project, calibration_folder).items():
        try:
            for path in calibration_files(folder):
                check_header(path)
        except (OSError, DatasetError, ImageError) as error:
            yield ProjectProblem(f"detectors.{name}.calibration.folder", str(error))


def _of_cells(project: Project, path_of: Callable[[Project, Cell], Path | None]) -> dict[Path, str]:
    """Each path that a cell names, once, with a detector that does."""
    return {
        path: detector
        for category, detector in project.cells()
        if (path := path_of(project, Cell(category, detector))) is not None
    }


def _instance_problems(project: Project) -> Iterator[ProjectProblem]:
    users = os.environ.get("DAGSTER_HOME")
    if users and Path(users).resolve() != project_dagster_home(project).resolve():
        if not Path(users).is_dir():
            yield ProjectProblem("DAGSTER_HOME", f"{users} is not a folder: make it, or unset DAGSTER_HOME")
        elif not project.dagster.key_prefix:
            yield ProjectProblem(
                "DAGSTER_HOME",
                f"the instance in {users} is used instead of the project's own; if another project uses it too, "
                "their assets mix: set dagster.key_prefix in uad.yaml, or unset DAGSTER_HOME",
            )


def _free_bytes(folder: Path) -> int:
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
