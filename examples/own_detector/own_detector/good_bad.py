"""``own_good_bad``: ``<category>/good/*.png`` and ``<category>/bad/*.png`` with ``<category>/masks/<stem>.png``.

``uad.yaml`` may give the first two folders other names. There is no split: every fifth good image, in the order of
their names, is a test image.
"""

from pathlib import Path

from pydantic import Field

from uad_orchestrator.datasets import (
    Exclusions,
    FoundImage,
    Layout,
    LayoutSettings,
    Scan,
    is_folder,
    list_images,
    match_masks,
    subfolders,
)


class GoodBadSettings(LayoutSettings):
    """The keys that the layout adds to its ``datasets:`` entry."""

    good_folder: str = Field("good", min_length=1, description="of a category's good images")
    bad_folder: str = Field("bad", min_length=1, description="of its bad ones")


def find_categories(root: Path, settings: GoodBadSettings) -> list[str]:
    """The folders below ``root`` that hold one of good images, sorted."""
    return [name for name in subfolders(root) if is_folder(root / name / settings.good_folder)]


def scan_category(root: Path, category: str, exclusions: Exclusions, settings: GoodBadSettings) -> Scan:
    """All images of a category by their names, and everything that does not fit."""
    scan = Scan(notes=["every fifth good image is a test image"])
    good = exclusions.apply(list_images(scan, root, f"{category}/{settings.good_folder}"))
    for number, path in enumerate(good):
        scan.images.append(FoundImage(path, "train" if number % 5 else "test", 0, "good"))
    bad = list_images(scan, root, f"{category}/{settings.bad_folder}")
    kept = exclusions.apply(bad)
    masks = match_masks(
        scan,
        kept,
        list_images(scan, root, f"{category}/masks"),
        suffixes=("",),
        expected=f"{category}/masks/{{stem}}.png",
        excluded=set(bad) - set(kept),
    )
    scan.images += [FoundImage(path, "test", 1, "bad", (mask,)) for path, mask in masks.items()]
    return scan


LAYOUT = Layout(
    version=1, find_categories=find_categories, scan_category=scan_category, settings=GoodBadSettings
)
