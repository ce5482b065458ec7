"""Why a node is stale, in words: the recorded version's recipe against the one it would have now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uad_orchestrator.orchestration.graph import NODES, Cell
from uad_orchestrator.orchestration.state import Input, ProjectState
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.provenance import ProvenanceError

IMAGE_WORDS = {
    "dataset_category": "image",
    "normal_images": "normal image",
    "test_images": "test image",
}


@dataclass
class Reasons:
    """Compares recipes; each pair of input versions is compared once."""

    state: ProjectState
    store: ArtifactStore
    _inputs: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict, repr=False)

    def between(self, asset: str, cell: Cell, recorded: str) -> tuple[str, ...]:
        """What changed for a node since the version that was recorded.

        An asset of inputs is compared by content; a computed one by the versions of what it read.
        """
        if asset in ("checkpoint",):
            return self._input_changed(self.state.input(asset, cell), cell, recorded)
        try:
            before = self.store.provenance(_key(asset, cell, recorded))
        except (ArtifactError, ProvenanceError):
            return ("its last recorded artifact is gone, so what changed can not be said",)
        found: list[str] = []
        stage_version = self.state.stage_version(asset, cell)
        if before.stage_version != stage_version:
            found.append(f"code version of {asset} {before.stage_version} -> {stage_version}")
        for name, version in self.state.reads(asset, cell).items():
            earlier = before.inputs.get(name)
            if earlier == version:
                continue
            if NODES[name].group == "benchmark":
                found.append(f"{name} changed")
            elif earlier is None:
                found.append(f"now reads {name}")
            else:
                found.extend(self._input_changed(self.state.input(name, cell), cell, earlier))
        return tuple(found) or ("its recipe changed",)

    def _input_changed(self, now: Input, cell: Cell, earlier: str) -> tuple[str, ...]:
        place = (now.asset, now.partition, earlier)
        if place not in self._inputs:
            before = read_content(self.store, now.asset, cell, earlier)
            self._inputs[place] = tuple(self._words(now, cell, before))
        return self._inputs[place]

    def _words(self, now: Input, cell: Cell, before: Mapping[str, Any] | None) -> list[str]:
        if before is None:
            return [f"{now.asset} changed"]
        if now.asset == "checkpoint":
            return checkpoint_words(before, now.content)
        if now.asset in IMAGE_WORDS:
            return image_words(before.get("images", []), now.content["images"], IMAGE_WORDS[now.asset])
        if now.asset == "ground_truth":
            return image_words(before.get("masks", []), now.content["masks"], "mask") or [
                "test labels changed"
            ]
        changes = ", ".join(setting_changes(before, now.content)) or "its order changed"
        if now.asset == "preprocessing_preset":
            return [f"preset {self.state.entry(cell).preset} changed: {changes}"]
        return [f"{now.asset.replace('_', ' ')} changed: {changes}"]


def read_content(store: ArtifactStore, asset: str, cell: Cell, version: str) -> Mapping[str, Any] | None:
    """The content an input had in an earlier version; None if it was not kept."""
    dimension = NODES[asset].dimension
    dataset, name = (cell.dataset, cell.category_name) if dimension != "detector" else (None, None)
    key = ArtifactKey(asset, dataset, name, cell.detector if dimension != "category" else None, version)
    try:
        return json.loads((store.open_dir(key) / "content.json").read_text())
    except (ArtifactError, ProvenanceError, OSError, ValueError):
        return None


def image_words(before: list[dict[str, Any]], now: list[dict[str, Any]], word: str) -> list[str]:
    """How two lists of files differ.

    >>> image_words([{"path": "a", "sha256": "1"}], [{"path": "a", "sha256": "1"}, {"path": "b", "sha256": "2"}], "mask")
    ['1 new mask']
    """
    old, new = ({i["path"]: i for i in images} for images in (before, now))
    counts = {
        "new {}": len(new.keys() - old.keys()),
        "{} removed": len(old.keys() - new.keys()),
        "{} changed": sum(old[path] != new[path] for path in new.keys() & old.keys()),
    }
    return [f"{n} {phrase.format(word + ('s' if n != 1 else ''))}" for phrase, n in counts.items() if n]


def checkpoint_words(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which weight file changed, by the first digits of its digest."""
    changed = [name for name in now if before.get(name) != now[name]]
    return [f"checkpoint changed ({_short(before.get(name))} -> {_short(now[name])})" for name in changed]


def setting_changes(before: Any, now: Any, place: str = "") -> list[str]:
    """Every value that differs, in the project file's words.

    >>> setting_changes({"steps": [{"gamma": 1.0}]}, {"steps": [{"gamma": 1.2}]})
    ['gamma 1.0 -> 1.2']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*now, *(key for key in before if key not in now)]
        return [c for key in keys for c in setting_changes(before.get(key), now.get(key), key)]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [c for b, n in zip(before, now, strict=True) for c in setting_changes(b, n, place)]
    return [] if before == now else [f"{place} {_value(before)} -> {_value(now)}".strip()]


def _value(value: Any) -> str:
    return "none" if value is None else json.dumps(value) if isinstance(value, dict | list) else str(value)


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"sha256 {digest[:8]}.."


def _key(asset: str, cell: Cell, version: str) -> ArtifactKey:
    return ArtifactKey(asset, cell.dataset, cell.category_name, cell.detector, version)
