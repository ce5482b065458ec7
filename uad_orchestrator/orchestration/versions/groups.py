"""Cells that are computed together: those of a category that share what costs most, the embeddings of its images."""

from __future__ import annotations

from collections.abc import Mapping

from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.project import Project
from uad_orchestrator.project.settings import DetectorEntry
from uad_orchestrator.storage.digests import digest_of


def embedding_recipe(entry: DetectorEntry) -> str:
    """The digest of embedder and preset: detectors that have it in common share the embeddings of an image."""
    return digest_of({"embedder": entry.embedder, "preset": entry.preset})


def cell_groups(project: Project) -> dict[str, tuple[Cell, ...]]:
    """The groups of a project's grid by name, ``mvtec_ad/bottle: dino +2``; every cell is in one.

    The cells of a group share category, embedder and preset, and ask for the same ``resources``. A detector with a
    network of its own is alone: it shares nothing.
    """
    kinds: dict[str, list[str]] = {}
    for name, entry in sorted(project.detectors.items()):
        kind = name if entry.embedder is None else digest_of([embedding_recipe(entry), entry.resources])
        kinds.setdefault(kind, []).append(name)
    return {
        _name(category, detectors): tuple(Cell(category, detector) for detector in detectors)
        for category in project.category_keys()
        for detectors in kinds.values()
    }


def group_of(groups: Mapping[str, tuple[Cell, ...]]) -> dict[Cell, str]:
    """Of each cell the name of its group."""
    return {cell: name for name, cells in groups.items() for cell in cells}


def _name(category: str, detectors: list[str]) -> str:
    others = f" +{len(detectors) - 1}" if len(detectors) > 1 else ""
    return f"{category}: {detectors[0]}{others}"
