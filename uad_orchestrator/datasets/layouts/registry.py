"""The layouts by name: ours, each a module of its own and a line here, and those of other packages (``plugins``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.layout_settings import DATASET_KEYS, LayoutSettings
from uad_orchestrator.datasets.layouts import demo, folder, manifest_file
from uad_orchestrator.datasets.layouts.published import (
    btad,
    kolektor_sdd2,
    magnetic_tile,
    mpdd,
    mvtec_3d_ad,
    mvtec_ad,
    mvtec_ad2,
    mvtec_loco,
    visa,
)
from uad_orchestrator.datasets.scan import Scan
from uad_orchestrator.plugins import PluginGroup


def _itself(root: Path) -> Path:
    return root


@dataclass(frozen=True)
class Layout:
    """How one published (or own) arrangement of files is read.

    A plug-in's is what its entry point in ``uad_orchestrator.layouts`` leads to, whose name is the layout's.

    Attributes:
        version: raised when the same files give another manifest; of a plug-in's layout part of the manifest's data
            version, as the version of its package is.
        find_categories: ``(root) -> list[str]``, the categories below a root, sorted.
        scan_category: ``(root, category, exclusions) -> Scan``, images and problems of a category, by names only.
        prepare: ``(root, category)``, makes a category's files where they are generated; None where they are yours.
        folder: ``(root) -> Path``, the folder that paths are relative to; the root itself unless a root may be a file.
        published: a published set is complete: something to test, a mask for each defect. Of images of one's own
            both may be missing.
        settings: the model of the keys it adds to a ``datasets:`` entry. With one of its own, the functions
            that take a root are called with the settings, too, as the keyword ``settings``.

    Raises:
        ValueError: a setting is called like what every dataset has.
    """

    version: int
    find_categories: Callable[..., list[str]]
    scan_category: Callable[..., Scan]
    prepare: Callable[..., None] | None = None
    folder: Callable[[Path], Path] = _itself
    settings: type[LayoutSettings] = LayoutSettings
    published: bool = True

    def __post_init__(self) -> None:
        if twice := sorted(self.settings.model_fields.keys() & DATASET_KEYS):
            raise ValueError(
                f"the layout's setting {twice[0]!r} has two meanings: none is called like what every dataset has "
                f"({', '.join(sorted(DATASET_KEYS))})"
            )

    def with_settings(self, given: LayoutSettings | Mapping[str, Any] | None) -> Layout:
        """The layout with its functions already given their settings.

        Args:
            given: of its own model, or values by key; None: its defaults.

        Returns:
            A layout whose functions take none.

        Raises:
            ValidationError: an unknown key, or a value that is not allowed.
        """
        settings = self.settings.model_validate({} if given is None else given)
        if self.settings is LayoutSettings:
            return self
        return replace(
            self,
            find_categories=partial(self.find_categories, settings=settings),
            scan_category=partial(self.scan_category, settings=settings),
            prepare=self.prepare and partial(self.prepare, settings=settings),
            settings=LayoutSettings,
        )


LAYOUTS: dict[str, Layout] = {
    "btad": Layout(btad.VERSION, btad.find_categories, btad.scan_category),
    "demo": Layout(demo.VERSION, demo.find_categories, demo.scan_category, demo.prepare),
    "folder": Layout(
        folder.VERSION,
        folder.find_categories,
        folder.scan_category,
        settings=folder.FolderSettings,
        published=False,
    ),
    "kolektor_sdd2": Layout(
        kolektor_sdd2.VERSION, kolektor_sdd2.find_categories, kolektor_sdd2.scan_category
    ),
    "magnetic_tile": Layout(
        magnetic_tile.VERSION, magnetic_tile.find_categories, magnetic_tile.scan_category
    ),
    "manifest": Layout(
        manifest_file.VERSION,
        manifest_file.find_categories,
        manifest_file.scan_category,
        folder=manifest_file.folder,
        settings=manifest_file.ManifestSettings,
        published=False,
    ),
    "mpdd": Layout(mpdd.VERSION, mpdd.find_categories, mpdd.scan_category),
    "mvtec_3d_ad": Layout(mvtec_3d_ad.VERSION, mvtec_3d_ad.find_categories, mvtec_3d_ad.scan_category),
    "mvtec_ad": Layout(mvtec_ad.VERSION, mvtec_ad.find_categories, mvtec_ad.scan_category),
    "mvtec_ad2": Layout(mvtec_ad2.VERSION, mvtec_ad2.find_categories, mvtec_ad2.scan_category),
    "mvtec_loco": Layout(mvtec_loco.VERSION, mvtec_loco.find_categories, mvtec_loco.scan_category),
    "visa": Layout(visa.VERSION, visa.find_categories, visa.scan_category),
}


PLUGINS = PluginGroup("uad_orchestrator.layouts", Layout, "layout")
"""The layouts of other packages."""


def layout_names() -> tuple[str, ...]:
    """Every layout that can be named here, ours and those of plug-ins; nothing is imported."""
    return (*LAYOUTS, *PLUGINS.words)


def find_layout(name: str) -> Layout | None:
    """A layout by its name; None where there is none.

    Raises:
        PluginError: the package that brings it cannot be used, or several bring it.
    """
    return PLUGINS.choose(name, LAYOUTS.get(name))
