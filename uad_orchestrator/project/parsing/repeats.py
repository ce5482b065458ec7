"""``repeats: {seeds: [...]}``: one entry of the file, a detector of the grid per seed.

``few`` with seeds 0 and 1 becomes the detectors ``few@seed0`` and ``few@seed1``, each a partition, a version and a
set of artifacts of its own, like any other; only the leaderboard knows that they belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from pydantic import BaseModel

from uad_orchestrator.detectors.protocol.settings import CoresetSettings
from uad_orchestrator.project.errors import Place
from uad_orchestrator.project.parsing.findings import Findings
from uad_orchestrator.project.settings import DetectorEntry

MARK = "@"
"""Stands between a detector's name and its seed; no detector in the file may have it in its name."""

M = TypeVar("M", bound=BaseModel)


def check_repeats(entry: DetectorEntry, findings: Findings) -> None:
    """Note why an entry's ``repeats`` would repeat nothing, or would overrule what the entry says itself."""
    if entry.repeats is None:
        return
    place = ("detectors", entry.name)
    if not seeds_act(entry):
        what = f"no seed of {entry.model} does anything with these settings: all repeats would be the same"
        advice = "seeds choose `references` and sample a `coreset`; set one of them, or take the key out"
        findings.add((*place, "repeats"), what, advice)
    for key in (*_seeds_given(entry.fit), *_seeds_given(entry.scoring)):
        findings.add((*place, *key), "is set by `repeats`, once per seed", "take one of the two out")


def expand_repeats(detectors: Mapping[str, DetectorEntry]) -> dict[str, DetectorEntry]:
    """The detectors of the grid: an entry with ``repeats`` once per seed, with every seed of its stages set."""
    return {one.name: one for entry in detectors.values() for one in _repeated(entry)}


def seeds_act(entry: DetectorEntry) -> bool:
    """Whether a seed changes what the detector finds.

    The seed of ``calibration`` does not count: it moves the thresholds alone, and only where there are more
    normals than ``calibration.max_images``.
    """
    return _acts(entry.fit) or any(_acts(part) for key, part in _parts(entry.scoring) if key != "calibration")


def _repeated(entry: DetectorEntry) -> Iterator[DetectorEntry]:
    if entry.repeats is None:
        yield entry
        return
    for seed in entry.repeats.seeds:
        stages = {"fit": _seeded(entry.fit, seed), "scoring": _seeded(entry.scoring, seed)}
        name = f"{entry.name}{MARK}seed{seed}"
        yield entry.model_copy(update={"name": name, "repeat_of": entry.name, **stages})


def _seeded(settings: M, seed: int) -> M:
    """The settings with this seed wherever they have one."""
    changed: dict[str, object] = {key: _seeded(part, seed) for key, part in _parts(settings)}
    if "seed" in type(settings).model_fields:
        changed["seed"] = seed
    return settings.model_copy(update=changed)


def _acts(settings: BaseModel) -> bool:
    """Whether a seed in here does anything; one beside a coreset that keeps every patch does not."""
    parts = dict(_parts(settings))
    if any(_acts(part) for part in parts.values()):
        return True
    coreset = parts.get("coreset")
    keeps_all = isinstance(coreset, CoresetSettings) and (coreset.method == "none" or coreset.ratio == 1)
    return "seed" in type(settings).model_fields and not keeps_all


def _seeds_given(settings: BaseModel) -> Iterator[Place]:
    if "seed" in settings.model_fields_set:
        yield ("seed",)
    for key, part in _parts(settings):
        yield from ((key, *inner) for inner in _seeds_given(part))


def _parts(settings: BaseModel) -> Iterator[tuple[str, BaseModel]]:
    """The settings inside settings, those that are set."""
    for key in type(settings).model_fields:
        if isinstance(part := getattr(settings, key), BaseModel):
            yield key, part
