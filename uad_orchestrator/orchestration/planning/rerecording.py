"""Nodes whose version is right but that Dagster recorded with other input versions: recorded again, not computed.

That happens where an input was recorded after its reader, or in another version than the reader used: a stage
clicked alone while Dagster's last word on the one above was an older setting, a mask edited so that the manifest
changed and the normal images did not. Without a new event Dagster's pages would call such a node stale for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from uad_orchestrator.orchestration.dagster_instance.event_log import (
    input_stamp,
    numbered_materializations,
    recorded_order,
    recorded_reads,
    recorded_versions,
    report_again,
)
from uad_orchestrator.orchestration.versions.graph import NODES, Cell, partition_of
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.project import Project

STAMPED: tuple[str, ...] = tuple(n.asset for n in NODES.values() if n.reads and n.dimension != "none")
"""The nodes whose events carry the versions they read, in order of dependency."""


@dataclass(frozen=True)
class Rerecord:
    """A node to record again in the version it has; ``reads`` are the versions it was made from."""

    asset: str
    partition: str
    category: str | None
    detector: str | None
    version: str
    reads: Mapping[str, str]

    def to_json(self) -> dict[str, str | None]:
        """As it stands under ``restamped``."""
        return {
            "asset": self.asset,
            "category": self.category,
            "detector": self.detector,
            "version": self.version,
        }


@dataclass
class RecordedGrid:
    """What Dagster last recorded, read once per asset."""

    instance: dg.DagsterInstance
    project: Project
    _versions: dict[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    _order: dict[str, Mapping[str, int]] = field(default_factory=dict, repr=False)

    def versions(self, asset: str) -> Mapping[str, str]:
        """The recorded version of each partition."""
        if asset not in self._versions:
            self._versions[asset] = recorded_versions(self.instance, self.project, asset)
        return self._versions[asset]

    def order(self, asset: str) -> Mapping[str, int]:
        """When each partition was last recorded, as a number that grows."""
        if asset not in self._order:
            self._order[asset] = recorded_order(self.instance, self.project, asset)
        return self._order[asset]


def find_rerecords(state: ProjectState, recorded: RecordedGrid, cells: Sequence[Cell]) -> list[Rerecord]:
    """The nodes of some cells, inputs among them, that are to be recorded again; in order of dependency."""
    return [again for asset in STAMPED for again in _rerecords_of(asset, state, recorded, cells)]


def apply_rerecords(state: ProjectState, recorded: RecordedGrid, found: Sequence[Rerecord]) -> list[Rerecord]:
    """Record those again all of whose inputs Dagster has in the right version by now; returns these."""
    done = []
    for again in found:
        places = {name: _place(name, again) for name in again.reads}
        if all(recorded.versions(name).get(places[name]) == v for name, v in again.reads.items()):
            report_again(
                recorded.instance,
                state.project,
                again.asset,
                again.partition,
                again.version,
                again.reads,
            )
            done.append(again)
    return done


def _rerecords_of(
    asset: str, state: ProjectState, recorded: RecordedGrid, cells: Sequence[Cell]
) -> Iterator[Rerecord]:
    places = {partition_of(asset, cell): cell for cell in cells}  # a category's input once, not per detector
    suspects = {
        partition: names
        for partition, cell in places.items()
        if (names := _suspects(asset, partition, cell, state, recorded))
    }
    if not suspects:
        return
    numbers = [recorded.order(asset)[partition] for partition in suspects]
    events = numbered_materializations(recorded.instance, state.project, asset, numbers)
    of_category, of_detector = (NODES[asset].dimension != other for other in ("detector", "category"))
    for partition, names in suspects.items():
        cell, reads = places[partition], state.reads(asset, places[partition])
        stamps = recorded_reads(state.project, events[partition], asset)
        if any(stamps[name] != input_stamp(reads[name]) for name in names):
            yield Rerecord(
                asset,
                partition,
                cell.category if of_category else None,
                cell.detector if of_detector else None,
                recorded.versions(asset)[partition],
                reads,
            )


def _suspects(
    asset: str, partition: str, cell: Cell, state: ProjectState, recorded: RecordedGrid
) -> list[str]:
    """The inputs recorded later than a node whose version is right, or not in the version it should have read.

    Only where there are any is the node's own event looked at: of these, storage keeps no index.
    """
    try:
        if recorded.versions(asset).get(partition) != state.version(asset, cell):
            return []
        own = recorded.order(asset)[partition]
        return [
            name
            for name, version in state.reads(asset, cell).items()
            if recorded.order(name).get(place := partition_of(name, cell), 0) > own
            or recorded.versions(name).get(place) != version
        ]
    except InputUnavailable:
        return []


def _place(asset: str, again: Rerecord) -> str:
    return partition_of(asset, Cell(again.category or "", again.detector or ""))
