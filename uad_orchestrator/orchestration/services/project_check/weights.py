"""What ``uad check`` finds out about embedders: packages, weight files, and whether the tensors in them fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from uad_orchestrator.embedders.create import embedder_spec, resolve_settings, weight_file
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torch_embedder import TorchEmbedder
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.extras import require_extra
from uad_orchestrator.orchestration.services.project_check.problem import ProjectProblem
from uad_orchestrator.orchestration.versions.input_contents import fit_settings
from uad_orchestrator.project import DetectorEntry, Project
from uad_orchestrator.storage.digests import digest_of


def package_problems(project: Project) -> Iterator[ProjectProblem]:
    """Models, embedders and indexes whose package is not installed."""
    for name, entry in project.entries().items():
        for key, require in (
            ("model", fit_settings),
            ("embedder", _require_embedder),
            ("index", _require_index),
        ):
            try:
                require(entry)
            except (ImportError, ValueError) as error:
                yield ProjectProblem(f"detectors.{name}.{key}", str(error))


def weight_problems(project: Project, *, quick: bool = False) -> Iterator[ProjectProblem]:
    """Weight files that are not there; or, unless it must be quick, that do not fit their network by their shapes."""
    looked_at: dict[str, str | None] = {}
    for name, entry in project.entries().items():
        where = f"detectors.{name}.embedder"
        if entry.embedder is None or any(place.startswith(where) for place in project.missing_files):
            continue
        try:
            weights = weight_file(entry.embedder, project.home)
        except (OSError, ValueError, ImportError, WeightsError) as error:
            yield ProjectProblem(where, str(error))
            continue
        if weights is None or quick:
            continue
        key = digest_of({"embedder": entry.embedder.model_dump(mode="json"), "file": str(weights)})
        if key not in looked_at:
            looked_at[key] = _misfit(entry.embedder, weights)
        if misfit := looked_at[key]:
            yield ProjectProblem(where, misfit)


def _misfit(settings: EmbedderSettings, weights: Path) -> str | None:
    """Why the weights do not fit the network; None where they do, or only building it would tell."""
    try:
        embedder = embedder_spec(settings.name).create(resolve_settings(settings), weights, "cpu")
        if isinstance(embedder, TorchEmbedder):
            embedder.check_shapes()
    except (WeightsError, ValueError) as error:
        return str(error)
    except ImportError:
        return None  # said by package_problems
    return None


def _require_embedder(entry: DetectorEntry) -> None:
    if entry.embedder is not None:
        spec = embedder_spec(entry.embedder.name)
        require_extra(*spec.needs, extra=spec.extra, what=f"embedder {entry.embedder.name}")


def _require_index(entry: DetectorEntry) -> None:
    if getattr(entry.fit, "index", None) is not None:
        require_extra("faiss", extra="faiss", what="index: ivf")
