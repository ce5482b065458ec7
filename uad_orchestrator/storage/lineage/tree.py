"""Where an artifact comes from: the tree of all it was made from, by the provenance files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey, InputReference
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.provenance import Provenance

CONTENT_FILE = "content.json"
"""An input's artifact holds its content in this file."""

SHOWN_PROVENANCE = frozenset(
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
        key: its address; None where the store has no artifact of it (any more).
        provenance: its record; likewise.
        upstream: what it was made from, in the order of its inputs.
        content: what an input holds; None for what was computed.
    """

    name: str
    version: str
    key: ArtifactKey | None
    provenance: Provenance | None
    upstream: tuple[LineageNode, ...] = ()
    content: Mapping[str, Any] | None = None

    def walk(self) -> Iterator[LineageNode]:
        """The node itself and everything above it.

        Returns:
            An iterator over the nodes, each version once.
        """
        seen = set()
        waiting = [self]
        while waiting:
            node = waiting.pop(0)
            if (node.name, node.version) not in seen:
                seen.add((node.name, node.version))
                yield node
                waiting.extend(node.upstream)

    def to_json(self) -> dict[str, Any]:
        """The tree as JSON values.

        Returns:
            The artifact's address, how it was made, and its ``upstream``.
        """
        made = self.provenance
        node: dict[str, Any] = {"name": self.name, "version": self.version}
        if self.key is not None and made is not None:
            cell = {"dataset": self.key.dataset, "category": self.key.category, "detector": self.key.detector}
            node |= (
                {"asset": self.key.asset} | cell | made.model_dump(mode="json", include=set(SHOWN_PROVENANCE))
            )
        if self.content is not None:
            node["holds"] = {name: _brief(value) for name, value in self.content.items()}
        return node | {"upstream": [above.to_json() for above in self.upstream]}

    def __str__(self) -> str:
        return "\n".join(self._lines("", "", set()))

    def _lines(self, first: str, below: str, seen: set[tuple[str, str]]) -> Iterator[str]:
        """One line a node; what stands further up already is not repeated."""
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
            return f"  {content_in_words(self.content)}" if self.content else ""
        return f"  {made.started_at:%Y-%m-%d %H:%M} UTC, {made.seconds:.1f} s on {made.host} ({made.device})"


def content_in_words(content: Mapping[str, Any]) -> str:
    """What an input holds: lists are counted, settings listed, digests cut short.

    >>> content_in_words({"images": [{"path": "a.png"}, {"path": "b.png"}], "layout": "mvtec_ad"})
    '2 images, layout mvtec_ad'
    >>> content_in_words({"steps": [], "settings": {"ratio": 0.1, "seed": 0}})
    'no steps, ratio 0.1, seed 0'
    """
    absent = [f"no {name}" for name, value in content.items() if value is None]
    return ", ".join(absent + [word for name, value in content.items() for word in _words(name, value)])


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [word for inner, item in value.items() for word in _words(inner, item)]
    if isinstance(value, list) and not any(isinstance(item, Mapping) for item in value) and value:
        return [f"{name} {', '.join(map(str, value))}"]
    if isinstance(value, list) and all(isinstance(item, Mapping) and "path" not in item for item in value):
        inner = [" ".join(word for k, v in item.items() for word in _words(k, v)) for item in value]
        return inner or [f"no {name}"]
    if isinstance(value, list):
        return [f"{len(value)} {name if len(value) != 1 else name.removesuffix('s')}"]
    if value is None:
        return []
    return [f"{name} {value[:12] if isinstance(value, str) and len(value) == 64 else value}"]


def _brief(value: Any) -> Any:
    """Lists of files as their number, anything else as it is."""
    files = isinstance(value, list) and any(isinstance(item, Mapping) and "path" in item for item in value)
    return len(value) if files else value


def read_content(store: ArtifactStore, key: ArtifactKey, made: Provenance) -> Mapping[str, Any] | None:
    """An input's content, as kept beside its version; None for artifacts that are not inputs."""
    if CONTENT_FILE not in (made.files or {}):
        return None
    return json.loads((store.open_dir(key, CONTENT_FILE) / CONTENT_FILE).read_text(encoding="utf-8"))


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
    content = read_content(store, key, provenance)
    return LineageNode(name, version, key, provenance, tuple(above), content)
