"""The device against the CPU: of the same embeddings the same coreset and scores; end to end the same metrics."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.made_up.cell import Cell, count_pixels
from benchmarks.made_up.pieces import accepting


def _embeddings(cell: Cell) -> dict[str, float]:
    """Coreset rows that differ and the largest relative difference of image scores; nothing where ``memory`` knows
    no device."""
    from uad_orchestrator.detectors import open_stream
    from uad_orchestrator.images import ImageSource
    from uad_orchestrator.memory import NearestNeighbors, select_coreset

    if not accepting(select_coreset, device=cell.device):
        return {}
    stream = open_stream(cell.embedder, device=cell.device)
    train, test = (
        [image.embedding.patch_embeddings for image in stream.stream(map(ImageSource.from_path, files))]
        for files in (sorted((Path(cell.folder) / part).glob("*/*.png")) for part in ("train", "test"))
    )
    rows = np.concatenate(train)
    here, there = (
        select_coreset(rows, cell.ratio, seed=0, **accepting(select_coreset, device=device))
        for device in ("cpu", cell.device)
    )
    cpu = NearestNeighbors(rows[here], "numpy")
    device = NearestNeighbors(rows[here], "torch", **accepting(NearestNeighbors, device=cell.device))  # type: ignore[arg-type]
    scores, others = (
        np.array([nearest.search(patches)[0].max() for patches in test], np.float64)
        for nearest in (cpu, device)
    )
    return {
        "rows": len(here),
        "rows that differ": len(np.setxor1d(here, there)),
        "score, relative": float(np.abs(others / scores - 1).max()),
    }


def _cell(cell: Cell) -> dict[str, float]:
    """Image and pixel AUROC of a whole cell on a device."""
    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.metrics import image_metrics

    folder = Path(cell.folder)
    manifest = load_dataset("mvtec_ad", folder.parent, folder.name)
    detector = create_detector(
        "vision_patchcore", embedder=cell.embedder, coreset={"ratio": cell.ratio}, device=cell.device
    )
    detector.fit(list(manifest.sources(manifest.train)))
    test = list(manifest.sources(manifest.test))
    scores = detector.decision_function(test)
    masks = [[manifest.root / file.path for file in record.masks] for record in manifest.test]
    pixels = count_pixels(detector.predict_anomaly_map(test), masks).compute()
    figures = image_metrics(scores, [record.label for record in manifest.test])
    return {"image_auroc": figures.auroc, "pixel_auroc": pixels["pixel_auroc"]}


if __name__ == "__main__":
    given = Cell(**json.loads(sys.argv[2]))
    print(json.dumps({"embeddings": _embeddings, "cell": _cell}[sys.argv[1]](given)))
