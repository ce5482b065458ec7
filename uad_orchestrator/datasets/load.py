"""From a dataset's folders to a Manifest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.layouts.folder import is_category
from uad_orchestrator.datasets.layouts.registry import Layout, find_layout, layout_names
from uad_orchestrator.datasets.leaks import find_exact_copies
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest, MaskFile, Split
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.datasets.scan import FoundImage, Scan, is_folder, refuse_equal_stems
from uad_orchestrator.datasets.strictness import MaskRule, Strictness
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.file_facts import image_digest
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.spelling import choose_from
from uad_orchestrator.storage.file_names import table_name
from uad_orchestrator.threads import available_threads

_SPLIT_ORDER = {split: order for order, split in enumerate(get_args(Split))}

Digests = Callable[[Path], str]
"""Gives a file's SHA-256 (hex). If it has ``many(paths) -> {path: digest}``, that is called once instead, with
strings, which are a good deal faster than paths over 100,000 files."""


def load_dataset(  # noqa: PLR0913 - keywords, each with a default
    name: str,
    root: Path | str,
    category: str,
    *,
    layout: str | None = None,
    layout_settings: LayoutSettings | Mapping[str, Any] | None = None,
    exclude: Iterable[str] = (),
    strictness: Strictness = Strictness(),  # noqa: B008 - frozen
    digests: Digests | None = None,
    reading: ReadingSettings = PLAIN_READING,
    categories: Collection[str] = (),
) -> Manifest:
    """One category of a dataset: each image's split, label, defect type, masks, group and content digest.

    Args:
        name: what the dataset is called in tables; also the layout's name unless ``layout`` is given.
        root: the dataset's folder, the one that holds the categories.
        category: a category's name.
        layout: one of ``LAYOUTS``, or one that an installed package brings.
        layout_settings: the keys that the layout adds to those of every dataset; None: its defaults.
        exclude: images to leave out: paths relative to ``root``, or patterns (``bottle/test/*/9*.png``).
        strictness: whether masks may be missing, and whether copies between splits are errors.
        digests: gives a file's digest; a cache may stand here.
        reading: how the images are read: what their files do not say themselves.
        categories: those known to be below the root (``find_categories``): it is not listed for one of them, which
            of thousands would take time by their square.

    Returns:
        The images, sorted by split and path, and warnings of what is missing.

    Raises:
        DatasetError: anything wrong with layout, its settings, root, category or files; all faults are listed.

    >>> from tempfile import TemporaryDirectory
    >>> from uad_orchestrator.datasets import generate_demo
    >>> with TemporaryDirectory() as folder:
    ...     generate_demo(folder, categories=["gear"])
    ...     gear = load_dataset("demo", folder, "gear")
    >>> len(gear.train), gear.test[0].path, gear.test[0].defect_type
    (30, 'gear/test/colour_shift/000.png', 'colour_shift')
    """
    layout = layout or name
    scan, exclusions = scan_dataset(
        layout, Path(root), category, exclude, layout_settings, strictness.masks, categories
    )
    folder = dataset_folder(layout, root)
    if scan.problems:
        raise DatasetError(f"{name}/{category} (layout {layout}, root {root}) cannot be used:", scan.problems)
    images = sorted(scan.images, key=lambda image: (_SPLIT_ORDER[image.split], image.path))
    digest = _digest_all(folder, images, digests or image_digest)
    records = tuple(
        ImageRecord(
            path=table_name(image.path),
            split=image.split,
            label=image.label,
            defect_type=table_name(image.defect_type),
            digest=digest[image.path],
            masks=tuple(MaskFile(table_name(mask), digest[mask]) for mask in image.masks),
            group_id=image.group_id and table_name(image.group_id),
            boxes=image.boxes,
        )
        for image in images
    )
    manifest = Manifest(
        name,
        category,
        layout,
        folder,
        records,
        excluded=tuple(sorted(exclusions.left_out)),
        notes=tuple(scan.notes),
        defects=scan.defects,
        reading=reading,
        warnings=tuple(scan.warnings),
        leaks=strictness.leaks,
    )
    if strictness.leaks == "error" and (refused := find_exact_copies(manifest)):
        raise DatasetError(f"{name}/{category} has copies in several splits, and `leaks: error`:", refused)
    return manifest


def dataset_folder(layout: str, root: Path | str) -> Path:
    """The folder that a manifest's paths are relative to: the root, or its parent if the root is a file."""
    return known_layout(layout).folder(Path(root))


def find_categories(
    layout: str, root: Path | str, layout_settings: LayoutSettings | Mapping[str, Any] | None = None
) -> list[str]:
    """The categories below a dataset's root.

    Args:
        layout: a layout's name.
        root: the dataset's folder.
        layout_settings: the keys that the layout adds to those of every dataset; None: its defaults.

    Returns:
        Their names, sorted.

    Raises:
        DatasetError: the layout is unknown or set wrongly, or the root cannot be reached.
    """
    found = _set_layout(layout, layout_settings).find_categories(Path(root))
    if not found:
        _refuse_category_as_root(Path(root))
    return found


def prepare_dataset(
    layout: str,
    root: Path | str,
    category: str,
    layout_settings: LayoutSettings | Mapping[str, Any] | None = None,
) -> None:
    """Generate a category's files where the layout is a generated one (``demo``); nothing to do for others.

    Raises:
        DatasetError: the layout or the category is unknown, or the layout is set wrongly.
    """
    prepared = _set_layout(layout, layout_settings)
    if prepared.prepare:
        _check_category(layout, prepared, Path(root), category)
        prepared.prepare(Path(root), category)


def scan_dataset(
    layout: str,
    root: Path,
    category: str,
    exclude: Iterable[str] = (),
    layout_settings: LayoutSettings | Mapping[str, Any] | None = None,
    masks: MaskRule | None = None,
    categories: Collection[str] = (),
) -> tuple[Scan, Exclusions]:
    """Images, problems and warnings of a category by names only, no file opened; and what was left out.

    Args:
        layout, root, category, exclude, layout_settings, categories: as ``load_dataset``.
        masks: whether they may be missing; None: as the layout has it.

    Raises:
        DatasetError: the layout or the category is unknown, the layout is set wrongly, or the root cannot be reached.
    """
    scanned = _set_layout(layout, layout_settings)
    if not scanned.prepare and not is_folder(scanned.folder(root)):
        raise DatasetError(
            f"the root {root} cannot be reached: no such folder; is the disk or share mounted?"
        )
    if category not in categories:
        _check_category(layout, scanned, root, category)
    exclusions = Exclusions(exclude)
    scan = scanned.scan_category(root, category, exclusions)
    refuse_equal_stems(scan)
    for entry in exclusions.unused(category):
        scan.complain(entry, "stands in exclude: but matches no image; correct it or take it out")
    required = scanned.published if masks is None else masks == "required"
    _settle_masks(scan, category, required=required)
    if not scan.problems:
        _check_splits(scan, category, scanned)
    return scan, exclusions


def known_layout(name: str) -> Layout:
    """A layout by its name.

    Raises:
        DatasetError: there is none of that name.
        PluginError: the package that brings it cannot be used, or several bring it.
    """
    layout = find_layout(name)
    if layout is None:
        raise DatasetError(f"unknown layout {name!r}; {choose_from(name, layout_names())}")
    return layout


def _settle_masks(scan: Scan, category: str, *, required: bool) -> None:
    """Defective images without a mask: errors stay errors, or become warnings."""
    defective = [image for image in scan.images if image.split == "test" and image.label == 1]
    lacking = [image.path for image in defective if not image.masks]
    if required:
        lacking = [path for path in lacking if path not in scan.without_mask]
    else:  # what the layout does not list for want of a mask stays a fault
        settled = {scan.without_mask[path] for path in lacking if path in scan.without_mask}
        scan.problems = [problem for problem in scan.problems if problem not in settled]
    if lacking and len(lacking) == len(defective):
        with_boxes = sum(bool(image.boxes) for image in defective)
        marked = f", {with_boxes} of them marked by boxes" if with_boxes else ""
        scan.warn(
            category, f"no masks ({len(lacking)} defective test images{marked}): there are no pixel metrics"
        )
        return
    boxed = {image.path for image in defective if image.boxes}
    for path in lacking:
        known = scan.without_mask.get(path)
        what = known.message if known else "has boxes, which are no mask" if path in boxed else "has no mask"
        scan.warn(path, f"{what}; pixel metrics leave it out")


def _check_splits(scan: Scan, category: str, layout: Layout) -> None:
    """Something to fit on, and something to score or a word that there is nothing."""
    if not any(image.split == "train" for image in scan.images):
        scan.complain(category, "the train split is empty; expected at least one image")
    tested = {image.label for image in scan.images if image.split == "test"}
    if not tested and layout.published:
        scan.complain(category, "the test split is empty; expected at least one image")
    elif not tested:
        scan.warn(category, "no test images: metrics stay empty; thresholds come from normals all the same")
    elif 0 not in tested:
        scan.warn(category, "no good test images: metrics that need them stay empty")
    elif 1 not in tested:
        scan.warn(category, "no defective test images: metrics that need them stay empty")


def _set_layout(name: str, settings: LayoutSettings | Mapping[str, Any] | None) -> Layout:
    """The layout, its functions given their settings."""
    try:
        return known_layout(name).with_settings(settings)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise DatasetError(f"the settings of layout {name}: {'; '.join(faults)}") from error


def _check_category(name: str, layout: Layout, root: Path, category: str) -> None:
    known = layout.find_categories(root)
    if category in known:
        return
    if not known:
        _refuse_category_as_root(root)
    raise DatasetError(
        f"unknown category {category!r} in {root} (layout {name}); {choose_from(category, known)}"
    )


def _refuse_category_as_root(root: Path) -> None:
    """A root that is one category, where its parent is meant.

    Raises:
        DatasetError: it is.
    """
    if is_folder(root) and is_category(root):
        raise DatasetError(f"{root} is a category itself: give its parent {root.parent} as the root")


def _digest_all(root: Path, images: Sequence[FoundImage], digests: Digests) -> Mapping[str, str]:
    """The digest of every image and mask by its relative path."""
    folder = str(root)
    names = (name for image in images for name in (image.path, *image.masks))
    paths = {name: name if name.startswith("/") else f"{folder}/{name}" for name in names}
    many = getattr(digests, "many", None)
    try:
        if many is not None:
            by_path = many(paths.values())
            return {name: by_path[path] for name, path in paths.items()}
        with ThreadPoolExecutor(available_threads()) as pool:
            return dict(zip(paths, pool.map(digests, map(Path, paths.values())), strict=True))
    except (ImageError, OSError) as error:
        raise DatasetError(f"a file cannot be read: {error}") from error
