"""A detector's entry: flat in the file, cut into the stages that read its settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from uad_orchestrator.detectors.protocol.settings import MapSettings
from uad_orchestrator.detectors.protocol.spec import ENTRY_KEYS
from uad_orchestrator.detectors.protocol.tiling_settings import TilingSettings
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.plugins import PluginError
from uad_orchestrator.project.catalogue import Catalogue
from uad_orchestrator.project.errors import (
    OR_INSTALL,
    Place,
    SettingProblem,
    dotted,
    models_in,
    shown,
)
from uad_orchestrator.project.parsing.findings import Findings
from uad_orchestrator.project.parsing.operating_points import check_review
from uad_orchestrator.project.parsing.repeats import check_repeats
from uad_orchestrator.project.settings import DetectorEntry
from uad_orchestrator.spelling import choose_from, did_you_mean

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.spec import DetectorSpec


def read_detector(
    name: str, entry: Mapping[str, Any], catalogue: Catalogue, findings: Findings
) -> DetectorEntry | None:
    """The entry ``detectors.<name>`` with its model's defaults; None, its problems noted, if it is wrong."""
    place = ("detectors", name)
    spec = _spec_of(entry, name, catalogue, findings)
    if spec is None:
        return None
    before = len(findings.problems)
    _refuse_unknown_keys(entry, spec.model, (spec,), place, findings)
    _check_source_of_network(entry, spec, place, findings)
    fit = findings.check(spec.fit, _part(entry, spec.fit), place)
    scoring = findings.check(spec.scoring, _part(entry, spec.scoring), place)
    maps = _overlaid(spec.default_maps, entry.get("maps"), (*place, "maps"), findings)
    embedder = _read_embedder(spec, entry.get("embedder"), place, catalogue, findings)
    tiling = None
    if entry.get("tiling") is not None:
        tiling = findings.check(TilingSettings, entry["tiling"], (*place, "tiling"))
    if len(findings.problems) > before:
        return None
    stages = {"fit": fit, "scoring": scoring, "maps": maps, "embedder": embedder, "tiling": tiling}
    own = ("model", "preset", "checkpoint", "repeats", "review", "resources")
    given = {key: entry[key] for key in own if key in entry}
    read = findings.check(DetectorEntry, {"name": name, **given, **stages}, place)
    if read is not None:
        check_repeats(read, findings)
        check_review(read, spec, findings)
        _check_calibration_folder(read, findings)
    return read


def missing_files(detectors: Mapping[str, DetectorEntry], home: Path) -> Iterator[SettingProblem]:
    """The weight files, checkpoints and calibration folders named in the file that are not there.

    What differs by dataset or category is looked for when its cell is computed.
    """
    for name, detector in detectors.items():
        weights = None if detector.embedder is None else detector.embedder.weights
        named: dict[Place, str | None] = {
            ("embedder", "weights"): weights,
            ("checkpoint",): detector.checkpoint,
            ("calibration", "folder"): detector.calibration_folder,
        }
        for key, value in named.items():
            per_cell = key != ("embedder", "weights") and "{" in (value or "")
            if value is None or value.startswith(("hub:", "random:")) or per_cell:
                continue
            path = home / Path(value).expanduser()
            kind, is_there = ("folder", Path.is_dir) if key[-1] == "folder" else ("file", Path.is_file)
            if not is_there(path):
                near = did_you_mean(path.name, _names(path.parent, is_there))
                advice = near or "paths are relative to the project file"
                yield SettingProblem(("detectors", name, *key), f"there is no {kind} {path}", advice)


def _names(folder: Path, wanted: Callable[[Path], bool]) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if wanted(path)]
    except OSError:
        return []


def _part(entry: Mapping[str, Any], stage: type[BaseModel]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key in stage.model_fields}


def _spec_of(
    entry: Mapping[str, Any], name: str, catalogue: Catalogue, findings: Findings
) -> DetectorSpec | None:
    place, model = ("detectors", name), entry.get("model")
    try:
        if isinstance(model, str) and model in catalogue.detectors:
            return catalogue.detector_spec(model)
    except PluginError as error:
        findings.add((*place, "model"), str(error))
        return None
    if "model" not in entry:
        findings.add((*place, "model"), "is missing", choose_from(name, catalogue.detectors))
    else:
        advice = choose_from(model, catalogue.detectors) + OR_INSTALL
        findings.add((*place, "model"), f"no detector is called {shown(model)}", advice)
    if "model" not in entry or did_you_mean(
        model, catalogue.detectors
    ):  # else its keys may be another package's
        _refuse_unknown_keys(entry, "detector", catalogue.shipped_detectors, place, findings)
    return None


def _check_source_of_network(
    entry: Mapping[str, Any], spec: DetectorSpec, place: Place, findings: Findings
) -> None:
    """A network comes from an embedder, a checkpoint or a training: one of those the model knows."""
    if "checkpoint" not in spec.parts:
        if "checkpoint" in entry:
            findings.add((*place, "checkpoint"), f"{spec.model} loads no checkpoint", "take the key out")
        return
    trains = "train" in spec.fit.model_fields
    named = [key for key in ("checkpoint", "train") if entry.get(key) is not None]
    if not named:
        advice = "add `checkpoint: <file>`" + (", or `train: {}` to train the model" if trains else "")
        findings.add((*place, "checkpoint"), "is missing: where does the model come from?", advice)
    elif len(named) == 2 and trains:
        findings.add((*place, "train"), "a checkpoint is named, too", "the model comes from one of them")


def _check_calibration_folder(entry: DetectorEntry, findings: Findings) -> None:
    """Only a checkpoint has normals of its own to be calibrated on."""
    if entry.calibration_folder is not None and entry.checkpoint is None:
        what = "is for checkpoints: a model that is trained here is calibrated on normals withheld from it"
        advice = "lay the images into the validation split, or take the key out"
        findings.add(("detectors", entry.name, "calibration", "folder"), what, advice)


def _refuse_unknown_keys(
    entry: Mapping[str, Any], kind: str, specs: Sequence[DetectorSpec], place: Place, findings: Findings
) -> None:
    """Refuse the keys that none of the ``specs`` knows."""
    stages = [stage for spec in specs for stage in (spec.fit, spec.scoring)]
    known = {*ENTRY_KEYS, *(key for stage in stages for key in stage.model_fields)}
    for key in entry.keys() - known:
        homes = _homes_of(key, stages)
        advice = f"it belongs into `{homes[0]}`" if homes else choose_from(key, known)
        findings.add((*place, key), f"unknown key of a {kind}", advice)


def _homes_of(key: str, stages: Sequence[type[BaseModel]]) -> list[str]:
    """The places below an entry where a key of that name is valid, e.g. ``coreset.ratio``."""
    parts: dict[str, type[BaseModel]] = {
        "embedder": EmbedderSettings,
        "tiling": TilingSettings,
        "maps": MapSettings,
    }
    for stage in stages:
        parts |= {n: m for n, field in stage.model_fields.items() for m in models_in(field.annotation)}
    return [dotted((part, key)) for part, settings in parts.items() if key in settings.model_fields]


def _overlaid(default: MapSettings, value: object, place: Place, findings: Findings) -> MapSettings | None:
    """The model's own map settings, with what the entry gives laid over them."""
    given = findings.mapping(value, place)
    if findings.check(type(default), given, place) is None:
        return None
    return findings.check(type(default), {**default.model_dump(), **given}, place)


def _read_embedder(
    spec: DetectorSpec, value: object, place: Place, catalogue: Catalogue, findings: Findings
) -> EmbedderSettings | None:
    """The entry's embedder; without a name, or with the default's own, the default's settings underlie it."""
    default = spec.default_embedder
    place = (*place, "embedder")
    if default is None:
        if value is not None:
            findings.add(place, "this model has a network of its own", "take the key out")
        return None
    given = {"name": value} if isinstance(value, str) else findings.mapping(value, place)
    underlying = (
        default.model_dump(exclude_unset=True) if given.get("name", default.name) == default.name else {}
    )
    name = given.get("name", default.name)
    try:
        model = catalogue.embedder_settings(name) if isinstance(name, str) else EmbedderSettings
        settings = findings.check(model, {**underlying, **given}, place)
        if settings is not None:
            catalogue.check_embedder(settings)
            if spec.check_embedder is not None:
                spec.check_embedder(settings)
    except PluginError as error:
        findings.add((*place, "name"), str(error))
        return None
    except ValueError as error:
        key, what = _key_and_fault(str(error))
        findings.add((*place, *key), what)
        return None
    return settings


def _key_and_fault(message: str) -> tuple[Place, str]:
    """The embedders say ``embedder.layers: ...``: where, and what."""
    found = re.fullmatch(r"embedder\.(\w+): (.*)", message, re.DOTALL)
    return ((found[1],), found[2]) if found else ((), message)
