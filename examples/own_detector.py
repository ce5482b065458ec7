"""An own detector: say what is learnt and how an image is scored; embedding, thresholds and maps are there.

    python examples/own_detector.py [FOLDER]

This one asks how unusual a patch is at its place: for each grid position the mean and the variance of the
normals' embeddings (PaDiM with a diagonal covariance), for parts that always lie the same way.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from uad_orchestrator.datasets.demo_generator import generate_demo
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import MapSettings, ScoringSettings, Settings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, fitted_images
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.metrics import image_metrics, threshold_metrics


class PlaceAware(Detector):
    """A patch's score: its mean squared deviation from the normals at the same place, in their variances."""

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        rows = np.stack([e.embedding.patch_embeddings for e in self.stream.stream(images)]).astype(float)
        sums = {"sum": rows.sum(0), "squares": (rows**2).sum(0)}
        return DetectorState(sums, {"n": len(rows), "images": fitted_images(images)})

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        for source, embedding, seconds in self.stream.stream(images):
            rows = embedding.patch_embeddings.astype(float)
            out = 1 if leave_out else 0  # from sums an image is taken out again, as if it had not been fitted
            n = state.facts["n"] - out
            mean = (state.arrays["sum"] - out * rows) / n
            variance = (state.arrays["squares"] - out * rows**2) / n - mean**2
            scores = ((rows - mean) ** 2 / np.maximum(variance, 1e-3)).mean(axis=1).astype(np.float32)
            yield Response(
                name=source.name,
                score=float(scores.max()),
                patch_grid=scores.reshape(embedding.grid_shape),
                region=embedding.region,
                original_size=embedding.original_size,
                input_size=embedding.input_size,
                seconds=seconds,
            )

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        return lambda image: state.facts["n"] > 1


def main(root: Path) -> None:
    generate_demo(root, categories=["connector"])
    manifest = load_dataset("demo", root, "connector")
    scoring = ScoringSettings(contamination=0.1)
    detector = PlaceAware(open_stream("filter_bank"), Settings(), scoring, MapSettings())
    detector.fit(list(manifest.sources(manifest.train)))
    scores = detector.decision_function(list(manifest.sources(manifest.test)))
    labels = [record.label for record in manifest.test]
    found = threshold_metrics(scores, labels, detector.threshold_)
    print(f"image AUROC {image_metrics(scores, labels).auroc:.3f}")
    print(f"at the threshold: recall {found.recall:.2f}, false positives {found.false_positive_rate:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as folder:
            main(Path(folder))
