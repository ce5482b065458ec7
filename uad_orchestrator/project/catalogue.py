"""The words a project file may use for layouts, detectors, embedders and presets, and who knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.embedders.settings import EmbedderSettings

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.spec import DetectorSpec


@dataclass(frozen=True)
class Catalogue:
    """What this installation offers; a plug-in is imported when one of these functions is asked for its word.

    Attributes:
        detectors: the names of the models, ours and those of plug-ins.
        shipped_detectors: what is known of those of this package.
        detector_spec: from a model's name to what is known of it; PluginError where its package cannot be used.
        layouts: the names of the layouts.
        layout_settings: from a layout's name to the model of the keys it adds; PluginError where its package cannot be
            used.
        find_categories: ``(layout, root, its settings) -> categories``; DatasetError where the root cannot be read.
        embedder_settings: from an embedder's name to the model of its settings; ValueError for one that is not known,
            PluginError.
        check_embedder: raises ValueError for an embedder that cannot be set so.
        parse_step: raises ValueError for a wrong step of a preset.
        shipped_presets: the presets that need no definition.
    """

    detectors: Sequence[str]
    shipped_detectors: Sequence[DetectorSpec]
    detector_spec: Callable[[str], DetectorSpec]
    layouts: Sequence[str]
    layout_settings: Callable[[str], type[LayoutSettings]]
    find_categories: Callable[[str, Path, LayoutSettings | None], list[str]]
    embedder_settings: Callable[[str], type[EmbedderSettings]]
    check_embedder: Callable[[EmbedderSettings], object]
    parse_step: Callable[[Any], object]
    shipped_presets: Sequence[str]


def installed_catalogue() -> Catalogue:
    """What the package registers, and installed plug-ins offer; loads neither torch nor OpenCV, nor a plug-in."""
    from uad_orchestrator.datasets.layouts.registry import layout_names
    from uad_orchestrator.datasets.load import find_categories, known_layout
    from uad_orchestrator.detectors.registry import DETECTORS, detector_names, detector_spec
    from uad_orchestrator.embedders.create import embedder_spec, resolve_settings
    from uad_orchestrator.preprocessing.presets import SHIPPED_PRESETS
    from uad_orchestrator.preprocessing.settings import parse_step

    return Catalogue(
        detectors=detector_names(),
        shipped_detectors=tuple(DETECTORS.values()),
        detector_spec=detector_spec,
        layouts=layout_names(),
        layout_settings=lambda name: known_layout(name).settings,
        find_categories=find_categories,
        embedder_settings=lambda name: embedder_spec(name).settings,
        check_embedder=resolve_settings,
        parse_step=parse_step,
        shipped_presets=tuple(SHIPPED_PRESETS),
    )


def plugin_notes() -> list[str]:
    """A sentence on each installed plug-in: whose it is, or why it cannot be used. All of them are imported."""
    from uad_orchestrator.datasets.layouts import registry as layouts
    from uad_orchestrator.detectors import registry as detectors
    from uad_orchestrator.embedders import create as embedders

    return [
        *detectors.PLUGINS.notes(detectors.detector_spec),
        *embedders.PLUGINS.notes(embedders.embedder_spec),
        *layouts.PLUGINS.notes(layouts.find_layout),
    ]
