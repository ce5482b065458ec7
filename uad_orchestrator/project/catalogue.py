"""The words a project file may use for layouts, detectors, embedders and presets, and who knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator.embedders.settings import EmbedderSettings

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.spec import DetectorSpec


@dataclass(frozen=True)
class Catalogue:
    """What this installation offers.

    Attributes:
        detectors: the models by name.
        layouts: the names of the layouts.
        find_categories: ``(layout, root) -> categories``; DatasetError where the root cannot be read.
        check_embedder: raises ValueError for an embedder that is not known or cannot be set so.
        parse_step: raises ValueError for a wrong step of a preset.
        shipped_presets: the presets that need no definition.
    """

    detectors: Mapping[str, DetectorSpec]
    layouts: Sequence[str]
    find_categories: Callable[[str, Path], list[str]]
    check_embedder: Callable[[EmbedderSettings], object]
    parse_step: Callable[[Any], object]
    shipped_presets: Sequence[str]


def installed_catalogue() -> Catalogue:
    """What the package registers; loads neither torch nor OpenCV."""
    from uad_orchestrator.datasets.layouts.registry import LAYOUTS
    from uad_orchestrator.datasets.load import find_categories
    from uad_orchestrator.detectors.registry import DETECTORS
    from uad_orchestrator.embedders.create import resolve_settings
    from uad_orchestrator.preprocessing.presets import SHIPPED_PRESETS
    from uad_orchestrator.preprocessing.settings import parse_step

    return Catalogue(
        detectors=DETECTORS,
        layouts=tuple(LAYOUTS),
        find_categories=find_categories,
        check_embedder=resolve_settings,
        parse_step=parse_step,
        shipped_presets=tuple(SHIPPED_PRESETS),
    )
