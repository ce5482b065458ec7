"""PaDiM: how unusual a patch is at its own place, for parts that always lie the same way.

Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization", ICPR 2021: at
each place of the patch grid a Gaussian of the normals' features, of which a random few are kept; a patch's score is its
Mahalanobis distance.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from own_detector.detector_spec import PadimFit, PadimScoring
from uad_orchestrator.detectors import Detector, DetectorState, Response, aggregate, fitted_images
from uad_orchestrator.images import ImageSource


class Padim(Detector):
    """``own_padim``. Embedding, thresholds, maps, tiles and what scikit-learn's users expect come from ``Detector``."""

    fit_settings: PadimFit
    scoring_settings: PadimScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The sums and sums of products of the features at each place; an image can be taken out of them again."""
        distinct = list({image.digest: image for image in images}.values())
        if len(distinct) < 2:
            raise ValueError(f"own_padim needs two different normal images or more, not {len(distinct)}")
        kept = shape = None
        total, products = 0.0, 0.0
        for embedded in self.stream.stream(distinct):
            rows, grid = embedded.embedding.patch_embeddings.astype(np.float64), embedded.embedding.grid_shape
            if kept is None:
                kept, shape = self._kept(rows.shape[1]), grid
            if grid != shape:
                raise ValueError(
                    f"{embedded.source.name} has a patch grid of {grid}, the images before it one of {shape}: places "
                    "are compared, so all need one; take an embedder or a preset that brings them to one size"
                )
            total = total + rows[:, kept]
            products = products + _products(rows[:, kept])
        facts = {"images": fitted_images(distinct), "n": len(distinct), "seed": self.fit_settings.seed}
        return DetectorState({"kept": kept, "total": total, "products": products}, facts)

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """The Mahalanobis distance of each patch to the normals at its place; with ``leave_out`` to the others."""
        settings = self.scoring_settings
        for embedded in self.stream.stream(images):
            started = time.perf_counter()
            rows = embedded.embedding.patch_embeddings[:, state.arrays["kept"]].astype(np.float64)
            if len(rows) != len(state.arrays["total"]):
                raise ValueError(f"{embedded.source.name} has another patch grid than the fitted images")
            distances = _distances(rows, state, settings.ridge, without=leave_out)
            patches = distances[embedded.embedding.inspected_patches]  # of the preset's region of interest
            score = aggregate(patches, settings.aggregation, settings.topk)
            yield Response.of(embedded, score, patches, time.perf_counter() - started)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether an image is the only one of its part, and two others are left; then it can calibrate, too."""
        groups = Counter(image["group"] for image in state.facts["images"])
        return lambda image: groups[image.group] == 1 and state.facts["n"] > 2

    def _kept(self, dimension: int) -> np.ndarray:
        draws = np.random.default_rng(self.fit_settings.seed)
        return np.sort(draws.permutation(dimension)[: self.fit_settings.dimension])


def _products(rows: np.ndarray) -> np.ndarray:
    """``(places, d, d)`` of ``(places, d)``."""
    return rows[:, :, None] * rows[:, None, :]


def _distances(rows: np.ndarray, state: DetectorState, ridge: float, without: bool) -> np.ndarray:
    """``(places,)`` float64; ``without``: to the normals but the one whose rows these are."""
    n = state.facts["n"] - without
    mean = (state.arrays["total"] - without * rows) / n
    products = state.arrays["products"] - without * _products(rows)
    covariance = (products - n * _products(mean)) / (n - 1) + ridge * np.eye(rows.shape[1])
    apart = rows - mean
    return np.sqrt(np.einsum("pd,pd->p", apart, np.linalg.solve(covariance, apart[..., None])[..., 0]))
