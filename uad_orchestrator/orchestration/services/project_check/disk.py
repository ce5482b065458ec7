"""How much disk a benchmark will need, from image headers and the embedders' sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.load import dataset_folder, scan_dataset
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.file_facts import image_size
from uad_orchestrator.images.tiles import tile_grid
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.project import DetectorEntry, Project
from uad_orchestrator.storage.digests import digest_of

MAP_BYTES_PER_PIXEL = 2.0
"""A float32 map, deflated: smooth maps shrink to about half."""

PATCHES, DIMENSION = 1024, 512
"""Of an image, typical of the embedders: 32 x 32 patches; float16 in the cache."""


@dataclass(frozen=True)
class DiskNeed:
    """Estimated bytes.

    Attributes:
        embeddings: of the embedding cache, in the local folder.
        artifacts: of memory banks and anomaly maps, in the storage root.
    """

    embeddings: int
    artifacts: int

    @property
    def bytes(self) -> int:
        """Of both."""
        return self.embeddings + self.artifacts


def disk_need(project: Project) -> DiskNeed:
    """Estimated bytes of the embedding cache, the memory banks and the anomaly maps of the whole grid.

    An estimate to warn by: the size of the first image stands for its category.
    """
    embeddings = artifacts = 0.0
    entries = project.detectors.values()
    embedding = [entry for entry in entries if entry.embedder is not None]
    spaces = {
        digest_of({"embedder": e.embedder, "preset": e.preset, "tiling": _cut(e)}): e for e in embedding
    }
    for key in project.category_keys():
        images, (height, width), normals = _category_size(project, key)
        if not images:
            continue
        cached = sum(images * _embedding_bytes(project, e, (height, width)) for e in spaces.values())
        banks = sum(_kept(e) * normals * _embedding_bytes(project, e, (height, width)) * 2 for e in embedding)
        maps = len(entries) * (images - normals) * height * width * MAP_BYTES_PER_PIXEL
        embeddings += cached
        artifacts += banks + maps
    return DiskNeed(int(embeddings), int(artifacts))


def _embedding_bytes(project: Project, entry: DetectorEntry, size: tuple[int, int]) -> int:
    """Of one image in the cache: of all its tiles, if it is tiled."""
    tiling, canvas = entry.tiling, resolve_preset(entry.preset, project.presets).size_after(size)
    tiles = 1 if tiling is None else len(tile_grid(canvas, tiling.tile_size, tiling.resolved_stride))
    return tiles * PATCHES * DIMENSION * 2


def _cut(entry: DetectorEntry) -> dict[str, Any] | None:
    return None if entry.tiling is None else entry.tiling.recipe("fit")


def _category_size(project: Project, key: str) -> tuple[int, tuple[int, int], int]:
    """Images, size of one, training normals; zeros where the dataset cannot be read."""
    name, category = key.split("/", 1)
    dataset = project.datasets[name]
    try:
        known = () if project.why_unreachable(key) else (category,)  # it was listed when the file was read
        scan, _ = scan_dataset(
            dataset.layout,
            Path(dataset.root),
            category,
            dataset.exclude,
            dataset.layout_settings,
            categories=known,
        )
        folder = dataset_folder(dataset.layout, dataset.root)  # a manifest's root may be the file itself
        size = image_size(folder / scan.images[0].path, project.reading(name))
    except (DatasetError, ImageError, OSError, IndexError):
        return 0, (0, 0), 0
    normals = sum(image.split == "train" for image in scan.images)
    return len(scan.images), size, normals


def _kept(entry: DetectorEntry) -> float:
    """Share of the patch embeddings that goes into the bank."""
    coreset = getattr(entry.fit, "coreset", None)
    return 1.0 if coreset is None or coreset.method == "none" else coreset.ratio
