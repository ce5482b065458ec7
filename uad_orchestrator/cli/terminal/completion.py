"""What the shell may complete: categories, detectors, assets. Where there is no project it stays quiet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from uad_orchestrator.project import Project


def complete_category(ctx: typer.Context, incomplete: str) -> list[str]:
    """``dataset/category`` of the project that ``--home``, UAD_HOME or the current folder has."""
    project = _project(ctx)
    return [] if project is None else _beginning(project.category_keys(), incomplete)


def complete_detector(ctx: typer.Context, incomplete: str) -> list[str]:
    """The project's detectors."""
    project = _project(ctx)
    return [] if project is None else _beginning(project.detectors, incomplete)


def complete_asset(incomplete: str) -> list[str]:
    """All assets."""
    from uad_orchestrator.orchestration.versions.graph import NODES

    return _beginning(NODES, incomplete)


def complete_category_or_detector(ctx: typer.Context, incomplete: str) -> list[str]:
    """Behind an asset: its category, or its detector where it has one of these only."""
    from uad_orchestrator.orchestration.versions.graph import NODES

    asset = ctx.params.get("asset") or ""
    only_detector = asset in NODES and NODES[asset].dimension == "detector"
    return complete_detector(ctx, incomplete) if only_detector else complete_category(ctx, incomplete)


def _project(ctx: typer.Context) -> Project | None:
    from uad_orchestrator.project import ProjectError
    from uad_orchestrator.project.load import HOME_VARIABLE, load_project

    home = ctx.params.get("home") or os.environ.get(HOME_VARIABLE) or "."
    try:
        return load_project(Path(home).expanduser())
    except (ProjectError, OSError, RuntimeError):  # the last of ~nosuchuser
        return None


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
