"""What changed between two versions of an artifact, by the provenance files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.storage.artifact_key import ArtifactKey, split_category
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.lineage.differences import ABSENT, Change, changes, in_words
from uad_orchestrator.storage.lineage.tree import find_input, read_content, resolve
from uad_orchestrator.storage.provenance import Provenance


@dataclass(frozen=True)
class InputChange:
    """An input that has another version.

    Attributes:
        name: the input's name.
        before, after: its versions; None where it was not read.
        comparison: what changed in it, where both versions are still in the store.
    """

    name: str
    before: str | None
    after: str | None
    comparison: Comparison | None

    def __str__(self) -> str:
        return f"{self.name} {_short(self.before)} -> {_short(self.after)}"


@dataclass(frozen=True)
class Comparison:
    """What changed between two versions of one asset in one cell.

    Attributes:
        name: the asset.
        before, after: the two versions.
        inputs: inputs with another version, each with its own comparison.
        settings: settings, and contents of an input, that differ.
        metrics: metrics that differ.
        circumstances: what is not in the recipe but may explain a difference: code, packages, device, host,
            seeds, and the facts that were recorded.
    """

    name: str
    before: str
    after: str
    inputs: tuple[InputChange, ...]
    settings: tuple[Change, ...]
    metrics: tuple[Change, ...]
    circumstances: tuple[Change, ...]

    def walk(self) -> Iterator[Comparison]:
        """This comparison and those of its inputs, each asset once, nearest first."""
        seen = set()
        waiting = [self]
        while waiting:
            comparison = waiting.pop(0)
            if comparison.name not in seen:
                seen.add(comparison.name)
                yield comparison
                waiting.extend(change.comparison for change in comparison.inputs if change.comparison)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """As JSON values: the lines, and inputs, settings and metrics by themselves."""
        causes = list(self.walk())
        return {
            "asset": self.name,
            "before": self.before,
            "after": self.after,
            "inputs": [
                {"name": change.name, "before": change.before, "after": change.after}
                for cause in causes
                for change in cause.inputs
            ],
            "settings": [change.to_json() for cause in causes for change in cause.settings],
            "metrics": [change.to_json() for change in self.metrics],
            "lines": self.lines(),
        }

    def lines(self) -> list[str]:
        """The comparison in words, one fact a line: causes first, then what became of the metrics."""
        causes = list(self.walk())
        lines = [
            f"{self.name} {_short(self.before)} -> {_short(self.after)}",
            *(f"input: {change}" for c in causes for change in c.inputs),
            *(f"setting: {line}" for c in causes for line in in_words(c.settings)),
            *(f"metric: {_metric(change)}" for change in self.metrics),
            *(f"also, {c.name}: {change}" for c in causes for change in c.circumstances),
        ]
        return list(dict.fromkeys(lines))


def compare(
    store: ArtifactStore,
    asset: str,
    category: str | None,
    detector: str | None,
    version_a: str,
    version_b: str,
) -> Comparison:
    """What changed from ``version_a`` to ``version_b``; the first digits of a version suffice.

    Args:
        category: ``dataset/category``, or None for an asset without.

    Raises:
        ArtifactError: no version, or more than one, begins so.
    """
    cell = (*split_category(category), detector)
    return _compare(store, resolve(store, asset, cell, version_a), resolve(store, asset, cell, version_b))


def _compare(store: ArtifactStore, key_a: ArtifactKey, key_b: ArtifactKey) -> Comparison:
    before, after = store.provenance(key_a), store.provenance(key_b)
    inputs = tuple(_input_changes(store, (key_a, before), (key_b, after)))
    settings = changes(
        {**before.settings, **(read_content(store, key_a, before) or {})},
        {**after.settings, **(read_content(store, key_b, after) or {})},
    )
    return Comparison(
        name=key_a.asset,
        before=key_a.version,
        after=key_b.version,
        inputs=inputs,
        settings=tuple(settings),
        metrics=tuple(changes(before.metrics, after.metrics)),
        circumstances=tuple(changes(_circumstances(before), _circumstances(after))),
    )


def _input_changes(
    store: ArtifactStore, a: tuple[ArtifactKey, Provenance], b: tuple[ArtifactKey, Provenance]
) -> Iterator[InputChange]:
    (key_a, before), (key_b, after) = a, b
    for name in dict.fromkeys([*before.inputs, *after.inputs]):
        old, new = before.inputs.get(name), after.inputs.get(name)
        if old == new:
            continue
        found_a = find_input(store, key_a, name, old) if old else None
        found_b = find_input(store, key_b, name, new) if new else None
        # What the reader's settings say already is not said twice, as the input's own content.
        in_settings = name in before.settings and name in after.settings
        inner = _compare(store, found_a, found_b) if found_a and found_b and not in_settings else None
        yield InputChange(name, old, new, inner)


def _circumstances(made: Provenance) -> dict[str, Any]:
    made_by = {
        "stage_version": made.stage_version,
        "code_version": made.code_version,
        "device": made.device,
        "host": made.host,
        "packages": made.packages,
        "seeds": made.seeds,
    }
    plain = {name: value for name, value in made.facts.items() if not isinstance(value, Mapping | list)}
    return {**made_by, "facts": plain}


def _metric(change: Change) -> str:
    """``image_auroc 0.9412 -> 0.9655 (+0.0243)``."""
    old, new = change.before, change.after
    if isinstance(old, float | int) and isinstance(new, float | int):
        return f"{change.place} {old:.4f} -> {new:.4f} ({new - old:+.4f})"
    return f"{change.place} {_number(old)} -> {_number(new)}"


def _number(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    return "undefined" if value is None else f"{value:.4f}"


def _short(version: str | None) -> str:
    return "absent" if version is None else version[:12]
