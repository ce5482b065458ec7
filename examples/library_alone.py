"""Fit, threshold, score and measure in one script: the library, without Dagster and without a project file.

    python examples/library_alone.py [FOLDER]

Takes any dataset of a known layout; here the generated demo set, and an embedder that needs no weights.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from uad_orchestrator.datasets.demo_generator import generate_demo
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.images.decode import read_mask
from uad_orchestrator.metrics import PixelCounts, image_metrics, threshold_metrics


def main(root: Path) -> None:
    generate_demo(root, categories=["gear"])
    manifest = load_dataset("demo", root, "gear")

    detector = create_detector(
        "vision_patchcore", embedder="filter_bank", coreset={"ratio": 0.1}, contamination=0.1
    )
    detector.fit([manifest.root / record.path for record in manifest.train])
    print(f"threshold {detector.threshold_:.4g}, calibrated by {detector.image_point_.source}")

    images = [manifest.root / record.path for record in manifest.test]
    labels = [record.label for record in manifest.test]
    scores = detector.decision_function(images)
    found = threshold_metrics(scores, labels, detector.threshold_)
    print(f"image AUROC {image_metrics(scores, labels).auroc:.3f}")
    print(f"at the threshold: recall {found.recall:.2f}, false positives {found.false_positive_rate:.2f}")

    pixels = PixelCounts()
    for record, anomaly_map in zip(manifest.test, detector.predict_anomaly_map(images), strict=True):
        normal = np.zeros(anomaly_map.shape, dtype=bool)
        mask = read_mask(manifest.root / record.masks[0].path) if record.masks else normal
        pixels.update(anomaly_map, mask)
    print(", ".join(f"{name} {value:.3f}" for name, value in pixels.compute().items()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as folder:
            main(Path(folder))
