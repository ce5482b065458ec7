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
    """The groups of a project's grid by name, ``mvtec_ad/bottle: dino +2``; every cell is in one.

    The cells of a group share embedder and preset, and ask for the same ``resources``. A detector with a network of its
    own is alone: it shares nothing. A group is of one category, or of ``runtime.categories_per_run`` neighbours.
    """
    kinds: dict[str, list[str]] = {}
    for name, entry in sorted(project.detectors.items()):
        kind = name if entry.embedder is None else digest_of([embedding_recipe(entry), entry.resources])
        kinds.setdefault(kind, []).append(name)
    return {
        f"{_first(categories)}: {_first(detectors)}": tuple(_product(categories, detectors))
        for categories in _neighbours(project.category_keys(), project.runtime.categories_per_run)
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
    return [tuple(_product(those, names)) for names, those in categories.items()]


def _product(categories: Sequence[str], detectors: Sequence[str]) -> Iterator[Cell]:
    return (Cell(category, detector) for category in categories for detector in detectors)


def _neighbours(categories: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """At most so many categories of a dataset at a time, in their order."""
    for _, found in groupby(categories, key=lambda category: category.partition("/")[0]):
        of_dataset = list(found)
        yield from (of_dataset[start : start + most] for start in range(0, len(of_dataset), most))


def _first(names: Sequence[str]) -> str:
    return f"{names[0]} +{len(names) - 1}" if len(names) > 1 else names[0]
