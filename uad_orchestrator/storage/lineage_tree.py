"""Where an artifact comes from: the tree of all it was made from, by the provenance files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey, InputReference
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.provenance import Provenance

TOLD = frozenset(
    [
        "started_at",
        "seconds",
        "bytes",
        "host",
        "device",
        "run_id",
        "code_version",
        "seeds",
        "settings",
        "metrics",
    ]
)
"""What a node's JSON says of its making."""


@dataclass(frozen=True)
class LineageNode:
    """One version of an asset and all it was made from.

    Attributes:
        name: as its reader names it: the asset, or ``asset@dataset/category/detector``.
        version: the version that was read.
        key, provenance: None where the store has no artifact of it (any more).
        upstream: what it was made from, in the order of its inputs.
    """

    name: str
    version: str
    key: ArtifactKey | None
    provenance: Provenance | None
    upstream: tuple[LineageNode, ...] = ()

    def walk(self) -> Iterator[LineageNode]:
        """The node itself and everything above it, each version once."""
        seen = set()
        waiting = [self]
        while waiting:
            node = waiting.pop(0)
            if (node.name, node.version) not in seen:
                seen.add((node.name, node.version))
                yield node
                waiting.extend(node.upstream)

    def to_json(self) -> dict[str, Any]:
        """As JSON values: an artifact's address, how it was made, and its upstream."""
        made = self.provenance
        told = {"name": self.name, "version": self.version}
        if self.key is not None and made is not None:
            cell = {"dataset": self.key.dataset, "category": self.key.category, "detector": self.key.detector}
            told |= {"asset": self.key.asset} | cell | made.model_dump(mode="json", include=set(TOLD))
        return told | {"upstream": [node.to_json() for node in self.upstream]}

    def __str__(self) -> str:
        return "\n".join(self._lines("", "", set()))

    def _lines(self, first: str, below: str, seen: set[tuple[str, str]]) -> Iterator[str]:
        """One line a node; what stands further up already is not told again."""
        again = (self.name, self.version) in seen and bool(self.upstream)
        seen.add((self.name, self.version))
        yield f"{first}{self.name} {self.version[:12]}{self._made()}{' (see above)' if again else ''}"
        for position, node in enumerate(() if again else self.upstream):
            last = position == len(self.upstream) - 1
            yield from node._lines(
                f"{below}{'└─ ' if last else '├─ '}", f"{below}{'   ' if last else '│  '}", seen
            )

    def _made(self) -> str:
        made = self.provenance
        if made is None:
            return "  (not in the store)"
        if not made.inputs:
            return ""
        return f"  {made.started_at:%Y-%m-%d %H:%M} UTC, {made.seconds:.1f} s on {made.host} ({made.device})"


def upstream(store: ArtifactStore, key: ArtifactKey) -> LineageNode:
    """The tree of everything an artifact was made from.

    Raises:
        ArtifactError: there is no such artifact.
        ProvenanceError: its provenance file is damaged.
    """
    return _node(store, key.asset, key.version, key, store.provenance(key), {})


def resolve(
    store: ArtifactStore, asset: str, cell: tuple[str | None, str | None, str | None], version: str
) -> ArtifactKey:
    """The one artifact whose version begins with ``version``.

    Raises:
        ArtifactError: there is none, or more than one.
    """
    known = store.versions(asset, *cell)
    found = (
        [version] if version in known else [full for full in known if version and full.startswith(version)]
    )
    if len(found) != 1:
        place = "/".join(part or "_" for part in cell)
        listed = ", ".join(full[:12] for full in islice(known, 8)) or "none"
        problem = "no version" if not found else f"{len(found)} versions"
        raise ArtifactError(
            f"{problem} of {asset} of {place} begin with {version!r}; newest first there are: {listed}"
        )
    return ArtifactKey(asset, *cell, found[0])


def find_input(store: ArtifactStore, reader: ArtifactKey, name: str, version: str) -> ArtifactKey | None:
    """The artifact of an input as named in the provenance of ``reader``; None if the store has none."""
    candidates = InputReference.parse(name).candidates(reader, version)
    return next((key for key in candidates if store.exists(key)), None)


def _node(
    store: ArtifactStore,
    name: str,
    version: str,
    key: ArtifactKey,
    provenance: Provenance,
    known: dict[ArtifactKey, LineageNode],
) -> LineageNode:
    above = []
    for input_name, input_version in provenance.inputs.items():
        found = find_input(store, key, input_name, input_version)
        if found is None:
            above.append(LineageNode(input_name, input_version, None, None))
            continue
        if found not in known:
            made = store.provenance(found)
            known[found] = _node(store, input_name, input_version, found, made, known)
        above.append(known[found])
    return LineageNode(name, version, key, provenance, tuple(above))
