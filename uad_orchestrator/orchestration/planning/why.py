"""``uad why``: where an artifact comes from, and what changed since an earlier version of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.orchestration.planning.change_messages import CHOSEN, chosen_words, input_words
from uad_orchestrator.orchestration.planning.reasons import read_content
from uad_orchestrator.orchestration.versions.graph import NODES, Cell
from uad_orchestrator.orchestration.versions.selection import Selection
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.review.judgement import standing
from uad_orchestrator.review.judgement_file import JudgementFile
from uad_orchestrator.storage.artifact_key import ArtifactKey, InputReference
from uad_orchestrator.storage.artifacts import ArtifactError, ArtifactStore
from uad_orchestrator.storage.lineage.compare import Comparison, compare
from uad_orchestrator.storage.lineage.differences import Change
from uad_orchestrator.storage.lineage.tree import LineageNode, resolve, upstream

PREVIOUS = "previous"
"""Says ``--since`` the version before."""


class WhyError(ValueError):
    """A question that names no artifact: says which part is wrong and what there is."""


@dataclass(frozen=True)
class Explanation:
    """The answer.

    Attributes:
        tree: the artifact and all it was made from.
        note: where the artifact is not the one the project would have now.
        comparison: against the earlier version, if one was asked for.
        causes: what changed since, in a sentence each.
        judged: the images that are in it on a person's word: who judged them, and when.
    """

    tree: LineageNode
    note: str | None
    comparison: Comparison | None
    causes: tuple[str, ...]
    judged: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.comparison is None:
            return "\n".join(
                [str(self.tree), *self.chosen(), *self.judged, *([self.note] if self.note else [])]
            )
        return "\n".join([*self.headlines(), "", *self.comparison.lines()])

    def chosen(self) -> list[str]:
        """What people chose in it and above it: pinned thresholds with who, when and why, and review."""
        made = (node.provenance for node in self.tree.walk())
        return list(dict.fromkeys(word for one in made if one for word in chosen_words({}, one.settings)))

    def headlines(self) -> list[str]:
        """``image_auroc 0.981 -> 0.957: preset camera_robust changed: gamma 1.0 -> 1.2``."""
        if self.comparison is None:
            return []
        why = "; ".join(self.causes) or "nothing it reads changed"
        moved = [_moved(change) for change in self.comparison.metrics]
        return [f"{figure}: {why}" for figure in moved] or [why]

    def to_json(self) -> dict[str, Any]:
        """``uad why --json``: the tree; with ``--since`` under ``since`` what changed."""
        since = None
        if self.comparison is not None:
            since = self.comparison.to_json() | {"causes": list(self.causes), "headlines": self.headlines()}
        return self.tree.to_json() | {
            "note": self.note,
            "since": since,
            "chosen": self.chosen(),
            "judged": list(self.judged),
        }


def explain(
    state: ProjectState,
    store: ArtifactStore,
    asset: str,
    category: str | None = None,
    detector: str | None = None,
    *,
    since: str | None = None,
) -> Explanation:
    """Explain an artifact: the version the project has now, else the newest there is.

    Args:
        category: ``dataset/category``, or the category alone where only one dataset has it; None for an asset
            without.
        since: the first digits of an earlier version, or ``previous``.

    Raises:
        WhyError: no such asset, category or detector, or one too few or too many.
        ArtifactError: the artifact, or the earlier version, is not in the store.
    """
    cell = _cell(state, asset, category, detector)
    key, note = _current(state, store, asset, cell)
    tree = upstream(store, key)
    if since is None:
        return Explanation(tree, note, None, (), () if note else tuple(_judged(state, cell)))
    before = _previous(store, key) if since == PREVIOUS else resolve(store, asset, _place(key), since).version
    found = compare(store, asset, cell.category or None, cell.detector or None, before, key.version)
    return Explanation(tree, note, found, tuple(dict.fromkeys(_causes(found, cell, state, store))))


def _judged(state: ProjectState, cell: Cell) -> Iterator[str]:
    """The images of a category that people judged on the line, and that it has now."""
    records = state.project.line.records
    if records is None or not cell.category:
        return
    with suppress(InputUnavailable, DatasetError):
        paths = {record.digest: record.path for record in state.manifest(cell.category).records}
        judgements = JudgementFile(records, cell.category)
        try:
            standing_now = standing(judgements.read())
        except OSError as error:
            yield f"who judged images cannot be said: {judgements.path} cannot be read: {error}"
            return
        for judged in standing_now.values():
            if path := paths.get(judged.judgement.content):
                yield f"{path}: {judged.told()}"


def _cell(state: ProjectState, asset: str, category: str | None, detector: str | None) -> Cell:
    """The part of the grid the asset has; empty where it has none."""
    if asset not in NODES:
        raise WhyError(f"there is no asset {asset!r}: expected one of {', '.join(NODES)}")
    dimension = NODES[asset].dimension
    wanted = {"category": dimension in ("category", "cell"), "detector": dimension in ("detector", "cell")}
    given = {"category": category, "detector": detector}
    for part, needed in wanted.items():
        if needed != (given[part] is not None):
            problem = f"needs a {part}" if needed else f"has no {part}"
            shape = " ".join([asset, *(name.upper() for name, is_part in wanted.items() if is_part)])
            raise WhyError(f"{asset} {problem}: uad why {shape}")
    if category is not None:
        keys = state.project.category_keys()
        matches = [k for k in keys if Selection(categories=(category,)).covers(Cell(k, ""))]
        if len(matches) != 1:
            raise WhyError(f"{len(matches)} categories match {category!r}; there are: {', '.join(keys)}")
        category = matches[0]
    if detector is not None and detector not in state.project.detectors:
        raise WhyError(f"there is no detector {detector!r}; there are: {', '.join(state.project.detectors)}")
    return Cell(category or "", detector or "")


def _current(
    state: ProjectState, store: ArtifactStore, asset: str, cell: Cell
) -> tuple[ArtifactKey, str | None]:
    """The artifact in the version it has now; else the newest one, with a note."""
    unavailable = None
    if asset != "leaderboard":
        try:
            key = _key(asset, cell, state.version(asset, cell))
            if store.exists(key):
                return key, None
        except InputUnavailable as error:
            unavailable = str(error)
    newest = next(iter(store.versions(asset, *_place(_key(asset, cell, "any")))), None)
    if newest is None:
        raise ArtifactError(
            f"{asset} of {cell.key.strip('|') or 'the project'} was never made: `uad refresh`"
        )
    if asset == "leaderboard":
        return _key(asset, cell, newest), None
    why = unavailable or "what it reads changed since: see `uad plan`"
    return _key(asset, cell, newest), f"This is the newest version there is, not the current one: {why}"


def _previous(store: ArtifactStore, key: ArtifactKey) -> str:
    others = [version for version in store.versions(key.asset, *_place(key)) if version != key.version]
    if not others:
        raise ArtifactError(f"{key} is the only version in the store: there is no previous one")
    return others[0]


def _causes(found: Comparison, cell: Cell, state: ProjectState, store: ArtifactStore) -> Iterator[str]:
    """What made the difference, nearest first: inputs by their contents, code by its versions.

    What lies below the leaderboard is told of the first cell whose report changed: the comparison goes no further.
    """
    if found.name == "leaderboard":
        cell = next((_cell_named(change.name) for change in found.inputs if change.comparison), cell)
    entry = state.project.detectors.get(cell.detector)
    preset = entry.preset if entry else ""

    def words(asset: str, before: str, after: str) -> list[str]:
        old, new = (read_content(store, asset, cell, version) for version in (before, after))
        return input_words(asset, old, new, preset)

    if NODES[found.name].group != "benchmark" and found.before != found.after:
        yield from words(found.name, found.before, found.after)
    for step in found.walk():
        for change in step.circumstances:
            if change.place == "stage_version" and NODES[step.name].group == "benchmark":
                yield f"code version of {step.name} {change.before} -> {change.after}"
        settings = [change for change in step.settings if change.place.partition(".")[0] in CHOSEN]
        if settings and NODES[step.name].group == "benchmark":
            yield from chosen_words(*_settings_of(step, cell, store))
        for read in step.inputs:
            reference = InputReference.parse(read.name)
            if read.before is None or read.after is None:
                yield f"{'now' if read.before is None else 'no longer'} reads {read.name}"
            elif NODES[reference.asset].group != "benchmark":
                yield from words(reference.asset, read.before, read.after)
            elif reference.cell is not None:
                yield f"{read.name.partition('@')[2]} changed"


def _settings_of(step: Comparison, cell: Cell, store: ArtifactStore) -> list[dict[str, Any]]:
    """Those of both versions of a cell's artifact."""
    keys = (cell.artifact_key(step.name, version) for version in (step.before, step.after))
    return [store.provenance(key).settings for key in keys]


def _cell_named(report: str) -> Cell:
    """The cell of a report as the leaderboard names it, ``metrics_report@mvtec_ad/bottle/patchcore``."""
    category, _, detector = report.partition("@")[2].rpartition("/")
    return Cell(category, detector)


def _moved(change: Change) -> str:
    before, after = (
        f"{side:.3f}" if isinstance(side, float) else "undefined" for side in (change.before, change.after)
    )
    return f"{change.place} {before} -> {after}"


def _key(asset: str, cell: Cell, version: str) -> ArtifactKey:
    dataset, name = (cell.dataset, cell.category_name) if cell.category else (None, None)
    return ArtifactKey(asset, dataset, name, cell.detector or None, version)


def _place(key: ArtifactKey) -> tuple[str | None, str | None, str | None]:
    return key.dataset, key.category, key.detector
