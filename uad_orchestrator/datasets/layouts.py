"""The layouts by name. A new one is a file of its own and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uad_orchestrator.datasets import demo, folder, mvtec_ad
from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.scan import Scan


@dataclass(frozen=True)
class Layout:
    """How one published (or own) arrangement of files is read.

    Attributes:
        version: raised when the same files give another manifest; part of the manifest's data version.
        find_categories: categories below a root, sorted.
        scan_category: images and problems of a category, by names only.
        prepare: makes a category's files where they are generated; None where they are the user's.
    """

    version: int
    find_categories: Callable[[Path], list[str]]
    scan_category: Callable[[Path, str, Exclusions], Scan]
    prepare: Callable[[Path, str], None] | None = None


LAYOUTS: dict[str, Layout] = {
    "demo": Layout(demo.VERSION, demo.find_categories, demo.scan_category, demo.prepare),
    "folder": Layout(folder.VERSION, folder.find_categories, folder.scan_category),
    "mvtec_ad": Layout(mvtec_ad.VERSION, mvtec_ad.find_categories, mvtec_ad.scan_category),
}
