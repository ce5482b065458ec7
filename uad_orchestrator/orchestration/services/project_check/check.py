"""``uad check``: what is wrong with a project before it costs time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.checks.headers import check_dataset
from uad_orchestrator.datasets.checks.passed_over import passed_over
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.detectors.anomalib.calibration_folder import calibration_files
from uad_orchestrator.detectors.anomalib.trusted_files import (
    UntrustedFile,
    check_trusted,
    checkpoint_files,
    digests,
    read_files,
)
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.file_facts import check_header
from uad_orchestrator.orchestration.cells.findings.dataset_findings import DatasetFinding, dataset_findings
from uad_orchestrator.orchestration.dagster_instance.instance import dagster_home
from uad_orchestrator.orchestration.services.project_check.disk import disk_need
from uad_orchestrator.orchestration.services.project_check.instance import home_problems, instance_problems
from uad_orchestrator.orchestration.services.project_check.problem import ProjectProblem
from uad_orchestrator.orchestration.services.project_check.ray import ray_problems
from uad_orchestrator.orchestration.services.project_check.storage import (
    artifact_problems,
    free_bytes,
    shared_embeddings_note,
    size_words,
    storage_problems,
)
from uad_orchestrator.orchestration.services.project_check.weights import package_problems, weight_problems
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.orchestration.versions.stores import open_state
from uad_orchestrator.orchestration.versions.weight_paths import calibration_folder, checkpoint_path
from uad_orchestrator.project import PROJECT_FILE, Project
from uad_orchestrator.project.catalogue import plugin_notes
from uad_orchestrator.project.errors import SettingProblem
from uad_orchestrator.spelling import choose_from, how_many
from uad_orchestrator.storage.provenance import package_versions

OnFile = Callable[[str, int, int], None]
"""Called with (category, images of it looked at, images of it in all)."""


@dataclass(frozen=True)
class CheckResult:
    """All that was found.

    Attributes:
        problems: what will fail or mislead, errors and warnings.
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
        counts = {"errors": len(self.errors), "warnings": len(self.problems) - len(self.errors)}
        return asdict(self) | {"problems": [asdict(problem) for problem in self.problems]} | counts

    @property
    def errors(self) -> tuple[ProjectProblem, ...]:
        """The problems that are no warnings."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def check_project(
    project: Project,
    on_file: OnFile = lambda category, done, total: None,
    *,
    quick: bool = False,
    artifacts: bool = False,
    faults: Iterable[SettingProblem] = (),
) -> CheckResult:
    """Look at datasets, weights, packages, storage and Dagster's instance; nothing is computed or changed.

    Args:
        project: as its file says; with missing files allowed, they are among the problems.
        on_file: called with each image looked at.
        faults: what is wrong with the project file, where ``project`` is what remains without it.
        artifacts: read every stored file, and hold it to its checksum.
        quick: by names and headers alone: masks are not decoded, copies not looked for, weights not opened.
    """
    need = disk_need(project)
    problems = [
        *(ProjectProblem(PROJECT_FILE, str(fault)) for fault in faults),
        *(ProjectProblem(f"datasets.{name}", reason) for name, reason in project.unreachable.items()),
        *(ProjectProblem(place, what) for place, what in project.missing_files.items()),
        *_dataset_problems(project, on_file, quick=quick),
        *_passed_over(project),
        *package_problems(project),
        *weight_problems(project, quick=quick),
        *_class_name_problems(project),
        *_checkpoint_problems(project),
        *_calibration_problems(project),
        *_line_problems(project),
        *instance_problems(project),
        *home_problems(project),
        *(() if quick else ray_problems(dagster_home(project))),
        *storage_problems(project, need),
        *(artifact_problems(project) if artifacts else ()),
    ]
    free = free_bytes(Path(project.storage.local))
    size = f"about {size_words(need.bytes)} on disk ({size_words(free)} free)"
    notes = (
        f"{how_many(len(project.category_keys()), 'category')} x {how_many(len(project.detectors), 'detector')}",
        f"{size}, nearly all of it patch embeddings and anomaly maps",
        *filter(None, [None if quick else shared_embeddings_note(project, need)]),
        *plugin_notes(),
    )
    return CheckResult(tuple(problems), notes, need.bytes, free, dict(package_versions()))


def _dataset_problems(project: Project, on_file: OnFile, *, quick: bool) -> Iterator[ProjectProblem]:
    state = open_state(project)
    for key in project.category_keys():
        name, category = key.split("/", 1)
        dataset = project.datasets[name]
        if project.why_unreachable(key) or (dataset.layout == "demo" and not Path(dataset.root).exists()):
            continue  # said already; or made by the first refresh
        found = check_dataset(
            dataset.layout,
            dataset.root,
            category,
            layout_settings=dataset.layout_settings,
            exclude=dataset.exclude,
            strictness=dataset.strictness,
            progress=partial(on_file, key),
            reading=project.reading(name),
            decode=False,  # what that shows is among the findings, which are kept
            categories=state.categories(name),
        )
        problems = {(problem.path, problem.message): problem.severity for problem in found}
        if not quick and "error" not in problems.values():
            problems |= {(f.path, f.message): f.severity for f in _findings(state, key)}
        for (path, message), severity in problems.items():
            yield ProjectProblem(key if path == category else f"{key}: {path}", message, severity)


def _passed_over(project: Project) -> Iterator[ProjectProblem]:
    """Images that no category has, where the categories are those that were found."""
    for name, dataset in project.datasets.items():
        if dataset.layout != "folder" or dataset.categories is not None or name in project.unreachable:
            continue
        known = {*project.found_categories.get(name, ())}
        if dataset.incoming is not None and dataset.incoming.is_relative_to(dataset.root):
            known.add(dataset.incoming.relative_to(dataset.root).parts[0])
        for found in passed_over(dataset.root, known):
            yield ProjectProblem(f"datasets.{name}: {found.path}", found.message, found.severity)


def _findings(state: ProjectState, category: str) -> list[DatasetFinding]:
    """What digests and pixels show beyond names and headers."""
    try:
        return dataset_findings(state, category)
    except InputUnavailable as error:
        place = category.partition("/")[2]
        return [DatasetFinding(check="files", path=place, message=str(error), severity="error")]


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
    """Checkpoints that are not there or not trusted."""
    for path, cell in _of_cells(project, checkpoint_path).items():
        try:
            check_trusted(digests(read_files(checkpoint_files(path))), project.trusted_checkpoints, path)
        except (OSError, UntrustedFile) as error:
            yield ProjectProblem(f"detectors.{cell.detector}.checkpoint", str(error))


def _calibration_problems(project: Project) -> Iterator[ProjectProblem]:
    """Calibration folders that are not there or empty, and images in them that cannot be read."""
    for folder, cell in _of_cells(project, calibration_folder).items():
        where = f"detectors.{cell.detector}.calibration.folder"
        try:
            files = calibration_files(folder)
        except (OSError, DatasetError) as error:
            yield ProjectProblem(where, str(error))
            continue
        for path in files:
            try:
                check_header(path, project.reading(cell.dataset))
            except ImageError as error:
                yield ProjectProblem(where, str(error))


def _line_problems(project: Project) -> Iterator[ProjectProblem]:
    """Records that nobody writes where they are looked for."""
    if (folder := project.line.records) is None:
        return
    try:
        missing = not any(folder.iterdir())
    except FileNotFoundError:
        missing = True
    except OSError as error:
        yield ProjectProblem("line.records", str(error))
        return
    if missing:
        what = f"{folder} has no records: does --record of uad serve or uad infer name this folder?"
        yield ProjectProblem("line.records", what, "warning")


def _of_cells(project: Project, path_of: Callable[[Project, Cell], Path | None]) -> dict[Path, Cell]:
    """Each path that a cell names, once, with a cell that does."""
    cells = (Cell(category, detector) for category, detector in project.cells())
    return {path: cell for cell in cells if (path := path_of(project, cell)) is not None}
