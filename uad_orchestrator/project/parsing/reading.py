"""From the text of a project file to a Project, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from uad_orchestrator.metrics.protocol import PROTOCOLS
from uad_orchestrator.metrics.thresholds.costs import Costs
from uad_orchestrator.preprocessing.roi import RoiMask
from uad_orchestrator.preprocessing.settings import PresetSettings
from uad_orchestrator.project.catalogue import Catalogue
from uad_orchestrator.project.errors import ProjectError, SettingProblem, dotted, shown
from uad_orchestrator.project.known_categories import read_known
from uad_orchestrator.project.parsing.datasets import look_for_categories, read_datasets, refuse_twins
from uad_orchestrator.project.parsing.detectors import missing_files, read_detector
from uad_orchestrator.project.parsing.findings import Findings
from uad_orchestrator.project.parsing.operating_points import check_points, read_points
from uad_orchestrator.project.parsing.paths import impossible_paths
from uad_orchestrator.project.parsing.repeats import MARK, expand_repeats
from uad_orchestrator.project.parsing.yaml_text import parse_project
from uad_orchestrator.project.project import Project
from uad_orchestrator.project.settings import (
    PROJECT_FILE,
    AutomationSettings,
    ChecksSettings,
    DagsterSettings,
    DatasetSettings,
    DetectorEntry,
    EvaluationSettings,
    ImagesSettings,
    LineSettings,
    RuntimeSettings,
    StorageSettings,
)
from uad_orchestrator.project.trust import DIGEST, read_trusted
from uad_orchestrator.spelling import choose_from

_FILLED_IN = ("home", "found_categories", "unreachable", "missing_files")
KEYS = tuple(key for key in Project.model_fields if key not in _FILLED_IN)
"""The keys at the top of the file."""


def project_from_text(
    text: str, home: Path, catalogue: Catalogue, allow_missing_files: bool = False
) -> Project:
    """Check the text of ``home / "uad.yaml"`` against what this installation offers (see ``load_project``).

    Raises:
        ProjectError: listing all problems at once.
    """
    findings = Findings(parse_project(text, home / PROJECT_FILE))
    project = None
    if not findings.problems:
        project = _read_sections(findings, home.resolve(), catalogue, allow_missing_files)
    if project is None or findings.problems:
        raise ProjectError(findings.text.path, findings.problems)
    return project


def _read_sections(
    findings: Findings, home: Path, catalogue: Catalogue, allow_missing_files: bool
) -> Project | None:
    values = findings.text.values
    for key in values.keys() - set(KEYS):
        findings.add((key,), "unknown key", choose_from(key, KEYS))
    if impossible := list(impossible_paths(values)):
        findings.note(*impossible)
        return None
    storage = _read_storage(values.get("storage"), home, findings)
    runtime = findings.section(RuntimeSettings, values.get("runtime"), ("runtime",))
    images = findings.section(ImagesSettings, values.get("images"), ("images",))
    evaluation = findings.section(EvaluationSettings, values.get("evaluation"), ("evaluation",))
    costs = None
    if given := findings.mapping(values.get("costs"), ("costs",)):
        costs = findings.check(Costs, given, ("costs",))
    points = read_points(values.get("operating_points"), findings)
    automation = findings.section(AutomationSettings, values.get("automation"), ("automation",))
    line = _read_line(values.get("line"), home, findings)
    checks = findings.section(ChecksSettings, values.get("checks"), ("checks",))
    dagster = findings.section(DagsterSettings, values.get("dagster"), ("dagster",))
    presets = _read_presets(values.get("presets"), home, catalogue, findings)
    detectors = _read_detectors(values.get("detectors"), values.get("presets"), catalogue, findings)
    datasets = read_datasets(values.get("datasets"), home, storage, catalogue, findings)
    trusted = _read_digests(values.get("trusted_checkpoints"), findings)
    _check_protocols(evaluation, datasets, findings)
    missing = [*missing_files(detectors, home), *_missing_masks(presets)]
    if not allow_missing_files:
        findings.note(*missing)
    if findings.problems:
        return None
    found, unreachable = look_for_categories(datasets, catalogue, read_known(storage, list(datasets)))
    project = Project(
        home=home,
        storage=storage,
        runtime=runtime,
        images=images,
        datasets=datasets,
        presets=presets,
        detectors=expand_repeats(detectors),
        evaluation=evaluation,
        costs=costs,
        operating_points=points,
        automation=automation,
        line=line,
        checks=checks,
        dagster=dagster,
        trusted_checkpoints=(*trusted, *read_trusted(home)),
        found_categories=found,
        unreachable=unreachable,
        missing_files={dotted(problem.place): problem.what for problem in missing},
    )
    check_points(project, catalogue, findings)
    return project


def _check_protocols(
    evaluation: EvaluationSettings, datasets: Mapping[str, DatasetSettings], findings: Findings
) -> None:
    """Protocols and the datasets they are for are known, and sPRO finds its channels."""
    named, here = evaluation.protocol, ("evaluation", "protocol")
    chosen = dict.fromkeys(datasets, named) if isinstance(named, str) else (named or {})
    for name, protocol in chosen.items():
        place = here if isinstance(named, str) else (*here, name)
        if protocol not in PROTOCOLS:
            findings.add(place, f"no protocol is called {shown(protocol)}", choose_from(protocol, PROTOCOLS))
        elif name not in datasets:
            findings.add(place, f"there is no dataset {shown(name)}", choose_from(name, datasets))
        elif PROTOCOLS[protocol].spro_limits and datasets[name].layout != "mvtec_loco":
            what = (
                f"sPRO needs masks in channels, which layout {datasets[name].layout} of {name} does not have"
            )
            findings.add(place, what, "leave it to the layout, or name another protocol")


def _read_line(value: object, home: Path, findings: Findings) -> LineSettings:
    settings = findings.section(LineSettings, value, ("line",))
    records = settings.records and (home / settings.records.expanduser()).resolve()
    return settings.model_copy(update={"records": records})


def _read_storage(value: object, home: Path, findings: Findings) -> StorageSettings:
    settings = findings.section(StorageSettings, value, ("storage",))
    given = settings.model_fields_set
    if "://" in settings.root:
        return settings.model_copy(update={"local": (home / settings.local.expanduser()).resolve()})
    root = (home / Path(settings.root).expanduser()).resolve()
    local = (home / settings.local.expanduser()).resolve() if "local" in given else root
    if settings.embeddings == "shared" and local == root:
        findings.add(
            ("storage", "embeddings"),
            f"is 'shared', but this machine's own lie in the store's folder, {root}, already",
            "name a folder on this machine's disk by `local`, or leave the key out",
        )
    return settings.model_copy(update={"root": str(root), "local": local})


def _read_digests(value: object, findings: Findings) -> tuple[str, ...]:
    place = ("trusted_checkpoints",)
    if value is None:
        return ()
    if not isinstance(value, list):
        findings.add(place, f"is {shown(value)} where a list of SHA-256 digests is expected")
        return ()
    for i, digest in enumerate(value):
        if not (isinstance(digest, str) and DIGEST.fullmatch(digest)):
            advice = "`sha256sum FILE` prints it; `uad trust FILE` notes it without editing this file"
            findings.add(
                (*place, i), f"is {shown(digest)}, no SHA-256 digest (64 hexadecimal digits)", advice
            )
    return tuple(map(str, value))


def _read_presets(
    value: object, home: Path, catalogue: Catalogue, findings: Findings
) -> dict[str, PresetSettings]:
    presets: dict[str, PresetSettings] = {}
    for name, steps in findings.mapping(value, ("presets",)).items():
        place = ("presets", name)
        findings.name(name, place, "preset")
        if name == "plain":
            findings.add(place, "plain is kept for images as they are", "choose another name")
        if not isinstance(steps, list):
            advice = "e.g. [{white_balance: gray_world}, {illumination: {method: homomorphic}}]"
            findings.add(place, f"is {shown(steps)} where a list of steps is expected", advice)
            continue
        for i, step in enumerate(steps):
            try:
                catalogue.parse_step(step)
            except ValueError as error:
                findings.add((*place, i), str(error))
        if not any(problem.place[:2] == place for problem in findings.problems):
            presets[name] = PresetSettings.model_validate(steps).located(home)
    return presets


def _missing_masks(presets: Mapping[str, PresetSettings]) -> Iterator[SettingProblem]:
    """The mask images of regions of interest that are not there."""
    for name, preset in presets.items():
        for i, step in enumerate(preset.steps):
            if isinstance(step, RoiMask) and not step.path.is_file():
                place = ("presets", name, i, "roi", "path")
                advice = "paths are relative to the project file"
                yield SettingProblem(place, f"there is no file {step.path}", advice)


def _read_detectors(
    value: object, presets: object, catalogue: Catalogue, findings: Findings
) -> dict[str, DetectorEntry]:
    entries = findings.mapping(value, ("detectors",))
    known_presets = (*catalogue.shipped_presets, *(presets if isinstance(presets, Mapping) else ()))
    detectors: dict[str, DetectorEntry] = {}
    if not value:
        advice = "e.g. `detectors: {patchcore: {model: vision_patchcore}}`"
        findings.add(("detectors",), "no detector is named", advice)
    for name, entry in entries.items():
        place = ("detectors", name)
        findings.name(name, place, "detector")
        if MARK in str(name):
            findings.add(
                place, f"this detector name holds {MARK!r}, which `repeats` puts before a seed", "rename it"
            )
        settings = findings.mapping(entry, place)
        _check_preset_name(settings.get("preset", "plain"), name, known_presets, findings)
        if detector := read_detector(name, settings, catalogue, findings):
            detectors[name] = detector
    refuse_twins(entries, ("detectors",), findings)
    return detectors


def _check_preset_name(preset: Any, detector: str, known: Iterable[str], findings: Findings) -> None:
    if preset not in (known := tuple(known)):
        place = ("detectors", detector, "preset")
        findings.add(place, f"no preset is called {shown(preset)}", choose_from(preset, known))
