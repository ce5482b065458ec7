"""How much disk a benchmark will need, from image headers and the embedders' sizes."""

from __future__ import annotations

from pathlib import Path

from uad_orchestrator.datasets.load import scan_dataset
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.images.decode import ImageError, image_size
from uad_orchestrator.project import DetectorEntry, Project
from uad_orchestrator.storage.digests import digest_of

MAP_BYTES_PER_PIXEL = 2.0
"""A float32 map, deflated: smooth maps shrink to about half."""

PATCHES, DIMENSION = 1024, 512
"""Of an image, typical of the embedders: 32 x 32 patches; float16 in the cache."""


def estimated_bytes(project: Project) -> int:
    """Estimated bytes of the embedding cache, the memory banks and the anomaly maps of the whole grid.

    An estimate to warn by: the size of the first image stands for its category.
    """
    total = 0.0
    embedding = [entry for entry in project.detectors.values() if entry.embedder is not None]
    spaces = {digest_of({"embedder": e.embedder, "preset": e.preset}) for e in embedding}
    for key in project.category_keys():
        images, pixels, normals = _category_size(project, key)
        per_image = PATCHES * DIMENSION * 2
        banks = sum(_kept(entry) * normals * per_image * 2 for entry in embedding)
        maps = len(project.detectors) * (images - normals) * pixels * MAP_BYTES_PER_PIXEL
        total += len(spaces) * images * per_image + banks + maps
    return int(total)


def _category_size(project: Project, key: str) -> tuple[int, int, int]:
    """Images, pixels of one, training normals; zeros where the dataset can not be read."""
    name, category = key.split("/", 1)
    dataset = project.datasets[name]
    try:
        scan, _ = scan_dataset(dataset.layout, Path(dataset.root), category, dataset.exclude)
        height, width = image_size(Path(dataset.root) / scan.images[0].path)
    except (DatasetError, ImageError, OSError, IndexError):
        return 0, 0, 0
    normals = sum(image.split == "train" for image in scan.images)
    return len(scan.images), height * width, normals


def _kept(entry: DetectorEntry) -> float:
    """Share of the patch embeddings that goes into the bank."""
    coreset = getattr(entry.fit, "coreset", None)
    return 1.0 if coreset is None or coreset.method == "none" else coreset.ratio
