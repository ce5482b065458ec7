"""The ``datasets:`` of a project file, and the categories found at their roots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from uad_orchestrator.datasets.layout_settings import DATASET_KEYS, LayoutSettings
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import files_and_folders
from uad_orchestrator.plugins import PluginError
from uad_orchestrator.project.catalogue import Catalogue
from uad_orchestrator.project.errors import OR_INSTALL, Place, shown
from uad_orchestrator.project.known_categories import Known, KnownDataset
from uad_orchestrator.project.parsing.findings import Findings
from uad_orchestrator.project.parsing.names import name_fault
from uad_orchestrator.project.settings import DatasetSettings, StorageSettings
from uad_orchestrator.spelling import choose_from, did_you_mean
from uad_orchestrator.storage.file_names import printable

_NAMED = 3
"""Categories that a message names; the others are counted."""

HELD_FOLDER = "held"
"""Below a dataset's ``incoming``: the images that were not taken in."""


def read_datasets(
    value: object, home: Path, storage: StorageSettings, catalogue: Catalogue, findings: Findings
) -> dict[str, DatasetSettings]:
    """Every entry, its paths resolved; problems are noted. Roots are not looked at."""
    entries = findings.mapping(value, ("datasets",))
    if not value:
        advice = "e.g. `datasets: {mvtec_ad: {root: /data/mvtec_ad}}`"
        findings.add(("datasets",), "no dataset is named", advice)
    datasets: dict[str, DatasetSettings] = {}
    for name, entry in entries.items():
        place = ("datasets", name)
        findings.name(name, place, "dataset")
        given = dict(findings.mapping(entry, place))
        if name in catalogue.layouts:
            given.setdefault("layout", name)
        if given.get("layout") == "demo":
            given.setdefault("root", storage.local / "demo_images")
        settings = _read_dataset(given, place, catalogue, findings)
        if settings is not None:
            _check_dataset(settings, place, findings)
            datasets[name] = _resolved(settings, home)
    refuse_twins(entries, ("datasets",), findings)
    return datasets


def look_for_categories(
    datasets: Mapping[str, DatasetSettings], catalogue: Catalogue, known: Known
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The categories of datasets that declare none, and why what cannot be read cannot; nothing raises.

    Categories that are ``known`` and not found stay among them: they are away, not forgotten.
    """
    found: dict[str, tuple[str, ...]] = {}
    unreachable: dict[str, str] = {}
    for name, dataset in datasets.items():
        there, away = _look_at_root(dataset, catalogue, known[name])
        if away:
            unreachable[name] = away
        if dataset.categories is None:
            found[name], faults = _found(dataset, there, known[name], away=bool(away))
        else:
            faults = {} if away else _not_there(dataset, there)
        unreachable |= {f"{name}/{category}": why for category, why in faults.items()}
    return found, unreachable


def _look_at_root(
    dataset: DatasetSettings, catalogue: Catalogue, before: KnownDataset
) -> tuple[list[str], str]:
    """The categories at a dataset's root; or none, and why. An empty root may be a mount point without its disk."""
    try:
        categories = catalogue.find_categories(dataset.layout, dataset.root, dataset.layout_settings)
    except (DatasetError, OSError) as error:
        at_hand = os.path.isfile(dataset.root)  # noqa: PTH113 - a share that hangs is no exception here
        return [], str(error) if at_hand else _away(before, str(error), _lying_in(dataset.root))
    there = [category for category in categories if dataset.root / category != dataset.incoming]
    if there:
        return there, ""
    lying = _lying_in(dataset.root)
    nothing = f"no category of layout {dataset.layout} was found in {dataset.root}"
    return [], _away(before, f"{nothing}, {_not_categories(lying)}" if lying else nothing, lying)


def _found(
    dataset: DatasetSettings, there: Sequence[str], before: KnownDataset, *, away: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The categories of a dataset that declares none, and what is wrong with some: names, folders that are gone."""
    faults = {c: f"the folder's name {fault}: rename it" for c in there if (fault := name_fault(c))}
    kept = [category for category in there if category not in faults]
    if away:
        return tuple(sorted(before.categories)), {}
    if before.root == dataset.root:
        seen = {c: time for c, time in before.categories.items() if time is not None and c not in there}
        faults |= {c: _gone(dataset.root / c, time) for c, time in seen.items()}
        kept += seen
    return tuple(sorted(kept)), faults


def _not_there(dataset: DatasetSettings, categories: Sequence[str]) -> dict[str, str]:
    """The declared categories that are not among those found."""
    return {
        category: f"there is no category {category!r} in {dataset.root}; {choose_from(category, categories)}"
        for category in sorted(set(dataset.categories or ()) - set(categories))
    }


def _lying_in(root: Path) -> list[str]:
    """The names in a folder, folders first; none where it cannot be listed."""
    try:
        files, folders = files_and_folders(root)
    except (DatasetError, OSError):
        return []
    return [printable(name) for name in (*(f"{name}/" for name in folders), *files)]


def _not_categories(lying: Sequence[str]) -> str:
    """What a root holds instead of categories, and what was expected there."""
    more = f" and {len(lying) - _NAMED} more" if len(lying) > _NAMED else ""
    expected = "expected folders with the images of a category each, e.g. <category>/train/good/<image>"
    return f"where {', '.join(lying[:_NAMED])}{more} lie; {expected} (docs/datasets.md shows every layout)"


def _away(before: KnownDataset, why: str, lying: Sequence[str]) -> str:
    """Why there is nothing at a root; a disk that is not mounted is thought of where it may be one."""
    since = "" if before.seen is None else f"root away since {_time(before.seen)}, when it was last seen: "
    names = sorted(before.categories)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    where = f", where {', '.join(names[:_NAMED])}{more} was before" if names else ""
    mounted = "" if lying and not names else "; is the disk or share mounted?"
    return f"{since}{why}{where}{mounted}"


def _gone(folder: Path, seen: datetime) -> str:
    advice = "put it back; if it is meant to be gone, name the other categories once: `categories: [...]`"
    return f"{folder} is gone since {_time(seen)}, when it was last seen: {advice}"


def _time(seen: datetime) -> str:
    return f"{seen.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def refuse_twins(names: Iterable[object], place: Place, findings: Findings) -> None:
    """Refuse names that differ in case only: on some systems they are one folder."""
    first: dict[str, object] = {}
    for i, name in enumerate(names):
        here = (*place, name) if isinstance(names, Mapping) and isinstance(name, str) else (*place, i)
        key = str(name).casefold()
        if key in first:
            findings.add(here, f"{first[key]!r} and {name!r} would share one folder", "rename one")
        first.setdefault(key, name)


def _read_dataset(
    given: Mapping[str, Any], place: Place, catalogue: Catalogue, findings: Findings
) -> DatasetSettings | None:
    """An entry, flat in the file, cut into the keys of every dataset and those of its layout."""
    of_all = {key: value for key, value in given.items() if key in DATASET_KEYS}
    of_layout = {key: value for key, value in given.items() if key not in DATASET_KEYS}
    settings = findings.check(DatasetSettings, of_all, place)
    layout_settings = _read_layout_settings(given.get("layout"), of_layout, place, catalogue, findings)
    return settings and settings.model_copy(update={"layout_settings": layout_settings})


def _read_layout_settings(
    layout: object, given: Mapping[str, Any], place: Place, catalogue: Catalogue, findings: Findings
) -> LayoutSettings | None:
    """The keys that the layout adds; None, its problems noted, where they are wrong or there is no such layout."""
    if not isinstance(layout, str) or layout not in catalogue.layouts:
        if isinstance(layout, str):
            advice = choose_from(layout, catalogue.layouts) + OR_INSTALL
            findings.add((*place, "layout"), f"no layout is called {shown(layout)}", advice)
        for key in given:
            if did_you_mean(key, DATASET_KEYS):  # any other may be the layout's
                findings.add((*place, key), "unknown key", choose_from(key, DATASET_KEYS))
        return None
    try:
        model = catalogue.layout_settings(layout)
    except PluginError as error:
        findings.add((*place, "layout"), str(error))
        return None
    return findings.check(model, given, place, also=DATASET_KEYS)


def _check_dataset(settings: DatasetSettings, place: Place, findings: Findings) -> None:
    for i, category in enumerate(settings.categories or ()):
        findings.name(category, (*place, "categories", i), "category")
    refuse_twins(settings.categories or (), (*place, "categories"), findings)
    if settings.categories == ():
        findings.add((*place, "categories"), "is empty", "leave the key out to take those found")
    for i, image in enumerate(settings.exclude):
        elsewhere = PurePosixPath(image).is_absolute() and settings.layout != "manifest"
        if "/" not in image or elsewhere or ".." in PurePosixPath(image).parts:
            what = f"{shown(image)} is not a path below the dataset's root"
            findings.add((*place, "exclude", i), what, "e.g. bottle/train/good/003.png, bottle/test/*/9*.png")
    if settings.incoming and settings.layout != "folder":
        advice = "published datasets are never written to; take the key out"
        findings.add((*place, "incoming"), "only layout folder takes new images in", advice)
    if settings.incoming and HELD_FOLDER in (settings.categories or ()):
        what = f"{HELD_FOLDER!r} is the quarantine of `incoming`"
        where = (*place, "categories", (settings.categories or ()).index(HELD_FOLDER))
        findings.add(where, what, "rename the category's folder")


def _resolved(settings: DatasetSettings, home: Path) -> DatasetSettings:
    incoming = settings.incoming and (home / settings.incoming.expanduser()).resolve()
    root = (home / settings.root.expanduser()).resolve()
    return settings.model_copy(update={"root": root, "incoming": incoming})
