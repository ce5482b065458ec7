"""Annotated images on disk, small, and what an import makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from uad_orchestrator.datasets.annotations import ImportedAnnotations, ImportSettings, import_annotations

HEIGHT, WIDTH = 30, 40


def write_pictures(root: Path, *names: str, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), place % 250, np.uint8)).save(root / name)


def write_json(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def coco_file(
    path: Path, *annotations: dict[str, Any], names: tuple[str, ...] = ("bad.png",), **more: Any
) -> Path:
    """A COCO file of images, and annotations of the first of them."""
    images = [
        {"id": place, "file_name": name, "height": HEIGHT, "width": WIDTH} for place, name in enumerate(names)
    ]
    filled = [{"id": place, "image_id": 0, "category_id": 1, **a} for place, a in enumerate(annotations)]
    categories = [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}, {"id": 3, "name": "fine"}]
    return write_json(path, {"images": images, "annotations": filled, "categories": categories, **more})


def a_region(seed: int = 0) -> np.ndarray:
    """A blob ``(30, 40)`` bool."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), 4)
    return field > np.quantile(field, 0.8)


def run(kind: str, root: Path, *sources: Path, **options: Any) -> ImportedAnnotations:
    """Import all there is below a folder."""
    names = ImportSettings.__dataclass_fields__.keys() & options.keys()
    settings = ImportSettings(**{name: options.pop(name) for name in names})
    return import_annotations(kind, sources or [root], images=root, settings=settings, **options)


def rows(found: ImportedAnnotations) -> dict[str, dict[str, Any]]:
    read = map(json.loads, found.manifest.read_text().splitlines())
    return {row["image_path"]: row for row in read}


def mask(found: ImportedAnnotations, image: str) -> np.ndarray:
    """The mask that was written for an image, ``(H, W)`` bool."""
    (path,) = rows(found)[image]["mask_path"]
    pixels = np.asarray(Image.open(found.manifest.parent / path))
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels > 0
