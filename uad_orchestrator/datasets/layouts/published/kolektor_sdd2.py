"""KolektorSDD2 (Bozic et al., Computers in Industry 2021), as published: one category.

``train/NNNNN.png`` with ``train/NNNNN_GT.png``, ``test/`` likewise. Every image has a mask, and it is
defective where the mask has any pixel above 0: this layout alone must open masks to know the labels. The
training split holds defects too; only its normals are fitted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from uad_orchestrator.datasets.exclusions import Exclusions
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.scan import FoundImage, Scan, is_folder, list_images, match_masks, stem
from uad_orchestrator.images.decode import ImageError, read_mask
from uad_orchestrator.images.header import reason_of

VERSION = 1
CATEGORY = "kolektor_sdd2"
_MASK = "_gt"
_SPLITS: tuple[Split, ...] = ("train", "test")
_THREADS = 4


def find_categories(root: Path) -> list[str]:
    """The one category, named like the set."""
    return [CATEGORY]


def scan_category(root: Path, category: str, exclusions: Exclusions) -> Scan:
    """All images, labelled by their masks, and everything that is not as published."""
    scan = Scan()
    for split in _SPLITS:
        if is_folder(root / split):
            _scan_split(scan, root, split, exclusions)
        else:
            scan.complain(split, f"no such folder; expected {split}/NNNNN.png with {split}/NNNNN_GT.png")
    return scan


def _scan_split(scan: Scan, root: Path, split: Split, exclusions: Exclusions) -> None:
    files = list_images(scan, root, split)
    found = [name for name in files if not stem(name).endswith(_MASK)]
    images = exclusions.apply(found)
    masks = match_masks(
        scan,
        images,
        [name for name in files if stem(name).endswith(_MASK)],
        suffixes=(_MASK,),
        expected=f"{split}/{{stem}}_GT.png",
        excluded=sorted(set(found) - set(images)),
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        defective = pool.map(lambda mask: _any_pixel(scan, root, mask), masks.values())
        for (image, mask), is_defective in zip(masks.items(), defective, strict=True):
            if is_defective:
                scan.images.append(FoundImage(image, split, 1, "defect", (mask,)))
            else:
                scan.images.append(FoundImage(image, split, 0, "good"))


def _any_pixel(scan: Scan, root: Path, mask: str) -> bool:
    try:
        return bool(read_mask(root / mask).any())
    except ImageError as error:
        scan.complain(mask, reason_of(error, root / mask))
        return False
