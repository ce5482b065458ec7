"""Cells that are computed together: those of a category, or of several, that share what costs most, the embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project
from uad_orchestrator.project.settings import DetectorEntry
from uad_orchestrator.storage.digests import digest_of


def embedding_recipe(entry: DetectorEntry) -> str:
    """The digest of embedder and preset: detectors that have it in common share the embeddings of an image."""
    return digest_of({"embedder": entry.embedder, "preset": entry.preset})


def cell_groups(project: Project) -> dict[str, tuple[Cell, ...]]:
    """The groups of a project's grid by name, ``mvtec_ad/bottle: dino..patchcore``; every cell is in one.

    The cells of a group share embedder and preset, and ask for the same ``resources``. A detector with a network of its
    own is alone: it shares nothing. A group is of one category, or of ``runtime.categories_per_run`` neighbours,
    ``mvtec_ad/bottle..grid: ...``.
    """
    kinds: dict[str, list[str]] = {}
    for name, entry in sorted(project.detectors.items()):
        kind = name if entry.embedder is None else digest_of([embedding_recipe(entry), entry.resources])
        kinds.setdefault(kind, []).append(name)
    return {
        f"{dataset}/{_span(categories)}: {_span(detectors)}": tuple(
            Cell(f"{dataset}/{category}", detector) for category in categories for detector in detectors
        )
        for dataset, categories in _neighbours(project)
        for detectors in kinds.values()
    }


def group_of(groups: Mapping[str, tuple[Cell, ...]]) -> dict[Cell, str]:
    """Of each cell the name of its group."""
    return {cell: name for name, cells in groups.items() for cell in cells}


def products(cells: Iterable[Cell]) -> list[tuple[Cell, ...]]:
    """The cells in as few parts as each is all of some categories with all of some detectors.

    >>> cells = [Cell("demo/gear", "dino"), Cell("demo/gear", "cnn"), Cell("demo/weave", "cnn")]
    >>> [[cell.key for cell in part] for part in products(cells)]
    [['demo/gear|dino', 'demo/gear|cnn'], ['demo/weave|cnn']]
    """
    detectors: dict[str, list[str]] = {}
    for cell in cells:
        detectors.setdefault(cell.category, []).append(cell.detector)
    categories: dict[tuple[str, ...], list[str]] = {}
    for category, those in detectors.items():
        categories.setdefault(tuple(those), []).append(category)
    return [tuple(Cell(one, name) for one in those for name in names) for names, those in categories.items()]


def _neighbours(project: Project) -> Iterator[tuple[str, list[str]]]:
    """At most so many categories of a dataset at a time, in their order."""
    most = project.runtime.categories_per_run
    for dataset, found in groupby(project.category_keys(), key=lambda category: category.partition("/")[0]):
        names = [category.partition("/")[2] for category in found]
        yield from ((dataset, names[start : start + most]) for start in range(0, len(names), most))


def _span(names: Sequence[str]) -> str:
    """The first and the last of some names, between them what no name holds."""
    return f"{names[0]}..{names[-1]}" if len(names) > 1 else names[0]
