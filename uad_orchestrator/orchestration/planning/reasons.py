"""Why a node is stale, in words: the recorded version's recipe against the one it would have now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uad_orchestrator.orchestration.planning.change_messages import chosen_words, input_words
from uad_orchestrator.orchestration.versions.graph import NODES, STAGES, Cell
from uad_orchestrator.orchestration.versions.state import Input, ProjectState
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.lineage import tree
from uad_orchestrator.storage.provenance import ProvenanceError


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
        if asset not in STAGES:
            return self._input_changed(self.state.input(asset, cell), cell, recorded)
        try:
            before = self.store.provenance(cell.artifact_key(asset, recorded))
        except (ArtifactError, ProvenanceError):
            return ("its last recorded artifact is gone, so what changed cannot be said",)
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
        found += chosen_words(before.settings, self.state.chosen(asset, cell))
        return tuple(found) or ("its recipe changed",)

    def _input_changed(self, now: Input, cell: Cell, earlier: str) -> tuple[str, ...]:
        place = (now.asset, now.partition, earlier)
        if place not in self._inputs:
            before = read_content(self.store, now.asset, cell, earlier)
            preset = self.state.entry(cell).preset
            self._inputs[place] = tuple(input_words(now.asset, before, now.content, preset))
        return self._inputs[place]


def read_content(store: ArtifactStore, asset: str, cell: Cell, version: str) -> Mapping[str, Any] | None:
    """The content an input had in an earlier version; None if it was not kept."""
    dimension = NODES[asset].dimension
    dataset, name = (cell.dataset, cell.category_name) if dimension != "detector" else (None, None)
    key = ArtifactKey(asset, dataset, name, cell.detector if dimension != "category" else None, version)
    try:
        return tree.read_content(store, key, store.provenance(key))
    except (ArtifactError, ProvenanceError, OSError, ValueError):
        return None
