"""SoftPatch: a PatchCore that expects defective images among its normals.

Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022; as in
TencentYoutuResearch/AnomalyDetection-SoftPatch: each patch is weighed among those at its own place in the
other images, the largest weights never come into the bank, and those that do count with their weight. The
discriminator ``unaligned_lof``, for parts that do not lie alike, is this project's own.

``lof_k`` is 6, as on the official command line; as published its runs take 5, because the option is lost on its way to
the local outlier factor. Weights are taken in the coreset's projection, which keeps lengths; the official one shrinks
them to a fifth (a fresh ``torch.nn.Linear`` from 1024 to 128), which ``lof`` does not see, while the weights of
``nearest`` and ``gaussian``, a distance plus 1, are closer to 1 there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from uad_orchestrator.detectors.bank.bank import (
    Bank,
    Neighbours,
    select_references,
)
from uad_orchestrator.detectors.bank.bank_detector import BankDetector
from uad_orchestrator.detectors.bank.rows.building import build_bank
from uad_orchestrator.detectors.bank.rows.patches import BankRecipe, ImageRows
from uad_orchestrator.detectors.bank.softpatch_settings import SoftPatchFit, SoftPatchScoring
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import TileSource, whole_of
from uad_orchestrator.memory.outlier_weights import feature_space_lof, outlier_weights
from uad_orchestrator.memory.weights_without import KnownNeighbours, known_anywhere, known_at_places


class SoftPatch(BankDetector):
    """``vision_softpatch``; its settings: ``softpatch_settings``."""

    fit_settings: SoftPatchFit
    scoring_settings: SoftPatchScoring

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """A memory bank as PatchCore's, without the patches that look like contamination, and a weight per row.

        Raises:
            ValueError: no more images than neighbours; images of different patch grids, or inspected at different
                patches, unless the discriminator is ``unaligned_lof``.
        """
        references = select_references(images, self.fit_settings.references)
        return build_bank(self.stream, references, self.recipe)

    @property
    def recipe(self) -> BankRecipe:
        """The coreset of the patches that are no outliers, and their weights."""
        settings = self.fit_settings
        return BankRecipe(
            settings.coreset,
            settings.seed,
            weigh=self._weigh,
            weigh_without=None if settings.discriminator == "gaussian" else self._weigh_without,
            left_out=settings.threshold,
            index=settings.index,
            augment=settings.augment,
        )

    @property
    def n_neighbors(self) -> int:
        """As the setting says."""
        return self.scoring_settings.n_neighbors

    def _weigh(self, images: list[ImageRows]) -> np.ndarray:
        settings, device = self.fit_settings, self.stream.device
        if settings.discriminator == "unaligned_lof":
            points = np.concatenate([image.rows for image in images])
            return feature_space_lof(
                points, _starts_of_wholes(images), settings.lof_k, settings.seed, device=device
            )
        views = len(images[0].inspected)
        weights: dict[int, np.ndarray] = {}
        for numbers in _by_place(images):  # tiles lie alike where they are cut at the same place
            alike = [images[number] for number in numbers]
            _check_they_lie_alike(alike)
            points = np.concatenate([image.rows.reshape(views, -1, image.rows.shape[1]) for image in alike])
            found = outlier_weights(points, settings.discriminator, settings.lof_k, views, device=device)
            weights |= zip(numbers, np.split(found, len(alike)), strict=True)
        return np.concatenate([weights[number].ravel() for number in range(len(images))])

    def _weigh_without(self, images: list[ImageRows], gone: Sequence[slice]) -> Iterator[np.ndarray]:
        nearest, compared = self.fit_settings.discriminator == "nearest", self._compared(images, gone)
        starts = _starts(images)
        fitted: np.ndarray | None = None
        for span in gone:
            weights = np.full(starts[-1], np.inf, np.float32)
            for numbers, patches, known in compared:
                beside = slice(*np.searchsorted(numbers, [span.start, span.stop]).tolist())
                found = known.nearest(beside) if nearest else known.lof(beside)
                if found is None:  # no image is left to compare with: as at the fit
                    fitted = self._weigh(images) if fitted is None else fitted
                    found = fitted[patches]
                weights[patches] = found
            weights[starts[span.start] : starts[span.stop]] = np.inf
            yield weights

    def _compared(self, images: list[ImageRows], gone: Sequence[slice]) -> list[_Compared]:
        """All images, or the tiles of each place, with the neighbours that are needed where some are gone."""
        settings, device, starts = self.fit_settings, self.stream.device, _starts(images)
        if settings.discriminator == "unaligned_lof":
            points, ends = np.concatenate([image.rows for image in images]), _starts_of_wholes(images)
            numbers = np.searchsorted(starts, ends[:-1])
            most = _most(numbers, gone)
            known = known_anywhere(points, ends, settings.lof_k, settings.seed, most, device=device)
            return [_Compared(numbers, np.arange(len(points)), known)]
        k = 1 if settings.discriminator == "nearest" else settings.lof_k
        views = len(images[0].inspected)
        compared = []
        for numbers in map(np.array, _by_place(images)):
            patches = np.concatenate([np.arange(starts[at], starts[at + 1]) for at in numbers])
            alike = [images[at].rows for at in numbers]
            points = np.concatenate([rows.reshape(views, -1, rows.shape[1]) for rows in alike])
            known = known_at_places(points, k, views, _most(numbers, gone), device=device)
            compared.append(_Compared(numbers, patches, known))
        return compared

    def _score(self, bank: Bank, embedded: EmbeddedImage, found: Neighbours) -> tuple[float, np.ndarray]:
        """Patch scores: squared distance to a bank row, times the row's weight."""
        settings = self.scoring_settings
        squared = found.squared
        if settings.soft_weights and bank.weights is not None:
            squared = squared * bank.weights[found.rows]
        patches = squared.mean(axis=1)
        return aggregate(patches, settings.aggregation, settings.topk), patches


class _Compared(NamedTuple):
    """Images whose patches are weighed among each other: their numbers (of a whole image its first tile's), those of
    their patches, and the patches' neighbours."""

    images: np.ndarray
    patches: np.ndarray
    known: KnownNeighbours


def _starts(images: list[ImageRows]) -> np.ndarray:
    """Where each image's patches begin, and the end."""
    return np.cumsum([0, *(len(image.rows) for image in images)])


def _most(numbers: np.ndarray, gone: Sequence[slice]) -> int:
    """How many of the images are gone at once, at most."""
    return max(int(((numbers >= span.start) & (numbers < span.stop)).sum()) for span in gone)


def _by_place(images: list[ImageRows]) -> list[list[int]]:
    """Numbers of the images to compare with each other: all, or the tiles of each place."""
    places: dict[object, list[int]] = {}
    for number, image in enumerate(images):
        place = image.source.box if isinstance(image.source, TileSource) else None
        places.setdefault(place, []).append(number)
    return list(places.values())


def _starts_of_wholes(images: list[ImageRows]) -> np.ndarray:
    """Where the patches of each whole image begin, all its tiles together, and the end."""
    counts: dict[str, int] = {}
    for image in images:
        whole = whole_of(image.source).digest
        counts[whole] = counts.get(whole, 0) + len(image.rows)
    return np.cumsum([0, *counts.values()])


def _check_they_lie_alike(images: list[ImageRows]) -> None:
    first = images[0]
    for image in images:
        if image.grid_shape != first.grid_shape:
            raise ValueError(
                f"{first.source.name} has a patch grid of {first.grid_shape}, {image.source.name} one of "
                f"{image.grid_shape}: patches are compared with those at their own place in the other images, "
                "so all need one grid; take an embedder that squashes every image to one size (resize: squash), "
                "or discriminator unaligned_lof"
            )
        if not np.array_equal(image.inspected, first.inspected):
            raise ValueError(
                f"the region of interest covers other patches of {image.source.name} than of {first.source.name}: "
                "patches are compared with those at their own place in the other images, so all need one region; "
                "take images of one size, or discriminator unaligned_lof"
            )
