"""MuSc: batch zero-shot, each test image against all others; no normal image is used.

Li et al., "MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of the
Unlabeled Images", ICLR 2024: most patches of most images are normal, so a normal patch finds its like in many
other images and a defect in few. As in xrli-U/MuSc, without its neighbourhood aggregation and its re-scoring of
images. Transductive: a score depends on the other images scored with it, so that no threshold carries over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from uad_orchestrator.detectors.bank.bank import unit_rows
from uad_orchestrator.detectors.bank.rows.building import declared_precision
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, Precision
from uad_orchestrator.detectors.musc_settings import MuscScoring
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.calibration import CalibrationImages
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import whole_of
from uad_orchestrator.memory.device import on_device
from uad_orchestrator.memory.nearest import NearestNeighbors

BLOCK = 16
"""Images compared with all others at a time; the others are read once for each block."""

NO_THRESHOLD = (
    "none: transductive: a test image's score depends on the test images it is scored with, so that no "
    "threshold carries over to others; for benchmarks only"
)


class MuSc(Detector):
    """``vision_musc``; its settings: ``musc_settings``.

    ``decision_function`` and ``predict_anomaly_map`` take all images of a batch together, at least two.
    """

    transductive = True
    scoring_settings: MuscScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """An empty state: nothing is learnt from normals."""
        if not images:
            raise ValueError("there are no images to fit on: at least one normal image is needed")
        return DetectorState({}, {"images": [], "transductive": True})

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Patch scores (mean distance to the images that come closest) and the image score, of all images.

        Every image is compared with every other; one with the same content is passed over. A tile is compared with
        the other images, each by the nearest patch of all its tiles.

        Raises:
            ValueError: no two different images.
        """
        sources = list(images)
        if not sources:
            return
        if len({whole_of(source).digest for source in sources}) < 2:
            raise ValueError(
                f"{sources[0].name}: vision_musc scores an image by comparing it with the others of its batch, "
                "and there are none: hand over all test images together"
            )
        precision = declared_precision(self.stream) or "float32"
        with self.stream.caching():
            for start in range(0, len(sources), BLOCK):
                started = time.perf_counter()
                block = list(self.stream.stream(sources[start : start + BLOCK], precision=precision))
                scored = self._patch_scores(block, sources, precision)
                seconds = (time.perf_counter() - started) / len(block)
                for embedded, patches in zip(block, scored, strict=True):
                    settings = self.scoring_settings
                    score = aggregate(patches, settings.aggregation, settings.topk)
                    yield Response.of(embedded, score, patches, seconds)

    def calibration_images(
        self, state: DetectorState, train: Sequence[ImageSource], validation: Sequence[ImageSource] = ()
    ) -> CalibrationImages:
        """None: there is no threshold."""
        return [], NO_THRESHOLD, False

    def _patch_scores(
        self, block: list[EmbeddedImage], sources: list[ImageSource], precision: Precision
    ) -> list[np.ndarray]:
        """``(n,)`` float32 of each image of a block, against all sources: inspected patches against inspected ones."""
        queries = [unit_rows(embedded.embedding.inspected_rows, self.stream.device) for embedded in block]
        ends = np.cumsum([len(rows) for rows in queries])[:-1]
        device = self.stream.device
        asked = on_device(np.concatenate(queries), device)
        images = {id(whole_of(source)): whole_of(source).digest for source in sources}
        columns = {image: column for column, image in enumerate(images)}
        distances = np.full((len(asked), len(images)), np.inf, np.float32)
        for source, other in zip(sources, self.stream.stream(sources, precision=precision), strict=True):
            search = NearestNeighbors(unit_rows(other.embedding.inspected_rows, device), device=device)
            squared, _ = search.search(asked)
            nearest = distances[:, columns[id(whole_of(source))]]
            np.minimum(nearest, np.sqrt(squared[:, 0]), out=nearest)
        digests = np.array(list(images.values()))
        return [
            _lowest_mean(
                part[:, digests != whole_of(embedded.source).digest], self.scoring_settings.lowest_share
            )
            for embedded, part in zip(block, np.split(distances, ends), strict=True)
        ]


def _lowest_mean(distances: np.ndarray, share: float) -> np.ndarray:
    """``(n,)`` mean of the smallest ``max(1, int(share * images))`` of ``(n, images)``."""
    k = max(1, int(share * distances.shape[1]))
    return np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1)
