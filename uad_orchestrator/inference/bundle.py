"""A bundle: a fitted, calibrated detector with all it needs to run somewhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad_orchestrator.detectors.create import build_detector
from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.detectors.protocol.tiling_settings import TILING_VERSIONS
from uad_orchestrator.detectors.registry import detector_spec, required_packages
from uad_orchestrator.embedders.create import embedder_recipe
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings
from uad_orchestrator.metrics.thresholds import at_false_positive_rate
from uad_orchestrator.metrics.thresholds.decision import review_from
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.storage.file_names import printable

if TYPE_CHECKING:
    from uad_orchestrator.detectors.embedding.stream import BatchSize
    from uad_orchestrator.detectors.protocol.detector import Detector


_PART = re.compile(r"[^./\\\s][^/\\]{0,199}")
"""Of a cell's name: what can name a folder. A bundle comes from elsewhere, and its name becomes a path."""


class BundleError(RuntimeError):
    """A bundle that cannot be written, read or used; the message says why, and what to do."""


@dataclass(frozen=True)
class Calibration:
    """What a bundle knows of normal images the detector does not hold.

    Attributes:
        image_point: the image threshold, with where it comes from.
        pixel_point: the threshold of map pixels, likewise.
        scores: the normals' image scores, without those that the image threshold left aside.
        maxima: the largest values of their anomaly maps, without those that the pixel threshold left aside.
        normal_maps: statistics of these maps (``NormalMapStatistics.summary``).
        map_scale: what ``maps.normalisation`` takes from them; None where it is off.
        review_point: the lower threshold, above which a person looks at a part; its contamination is
            ``review.from_fpr``. None: nothing is reviewed.
    """

    image_point: OperatingPoint
    pixel_point: OperatingPoint
    scores: tuple[float, ...]
    maxima: tuple[float, ...]
    normal_maps: Mapping[str, float | int | None]
    map_scale: MapScale | None = None
    review_point: OperatingPoint | None = None

    def at(self, rate: float) -> Calibration:
        """The calibration with the thresholds of another false-positive rate.

        Args:
            rate: the probability with which a new normal image may exceed them.

        Returns:
            A copy; its thresholds are NaN, with the reason, where the normals are too few for the rate; so is the
            begin of review where it would not lie below the image threshold.

        Raises:
            ValueError: ``rate`` is not in (0, 0.5).
        """

        def point(scores: Sequence[float], known: OperatingPoint) -> OperatingPoint:
            found = at_false_positive_rate(scores, rate, known.origin, largest_group=known.largest_group)
            return replace(found, left_aside=known.left_aside)

        image, review = point(self.scores, self.image_point), self.review_point
        if review is not None:
            review = review_from(self.scores, review.contamination, image)
        return replace(
            self,
            image_point=image,
            pixel_point=point(self.maxima, self.pixel_point),
            review_point=review,
        )

    @property
    def review_threshold(self) -> float | None:
        """Where review begins; NaN where it was asked for and cannot be, None where it was not."""
        return None if self.review_point is None else self.review_point.threshold


@dataclass(frozen=True)
class Bundle:
    """A fitted, calibrated detector.

    Attributes:
        name: what it was fitted on and by what, e.g. ``line7/housing x patchcore``.
        model: its model, ``vision_...``.
        settings: by stage.
        embedder: its embedder; None: it brings a network of its own, which is part of its state.
        preset: what is done to images first.
        weights: the embedder's weight file; None where it needs none.
        state: the fitted state.
        calibration: thresholds, and what they were taken from.
        trusted: SHA-256 (hex) of files of the state that may be loaded though loading can run code.
        documents: texts that come along, by file name: model card, metrics, lineage.
        reading: how the images it was fitted on were read, and new ones are.

    Raises:
        BundleError: the model is transductive.
    """

    name: str
    model: str
    settings: StageSettings
    embedder: EmbedderSettings | None
    preset: Preset
    weights: Path | None
    state: DetectorState
    calibration: Calibration
    trusted: tuple[str, ...] = ()
    documents: Mapping[str, str] = field(default_factory=dict)
    reading: ReadingSettings = PLAIN_READING

    def __post_init__(self) -> None:
        if detector_spec(self.model).transductive:
            raise BundleError(
                f"{self.name}: {self.model} scores an image by the others it is given with it: it has no "
                "threshold, and there is nothing to hand over"
            )

    @property
    def cell(self) -> tuple[str, str]:
        """What it was fitted on, ``dataset/category``, and the detector's name, as its name says.

        Raises:
            BundleError: its name is not ``dataset/category x detector``.
        """
        category, _, detector = self.name.rpartition(" x ")
        parts = [*category.split("/"), detector]
        fit = len(parts) == 3 and all(_PART.fullmatch(part) for part in parts)
        if not fit or printable(self.name) != self.name:
            raise BundleError(
                f"the bundle's name is {printable(self.name)[:200]!r}: to record or send results it has to be "
                "'dataset/category x detector', as `uad export bundle` writes it"
            )
        return category, detector

    def recipe(self) -> dict[str, Any]:
        """All that decides the scores of an image besides state, weights and settings, as this installation has it.

        Another version of any of it gives other scores, and the thresholds hold no more.

        Returns:
            Versions of the model's stages, of tiling and of a package, embedder and preset, as JSON values.
        """
        spec = detector_spec(self.model)
        recipe: dict[str, Any] = {
            "model": self.model,
            "stage_versions": dict(spec.versions),
            "embedder": None if self.embedder is None else dict(embedder_recipe(self.embedder)),
            "preset": self.preset.recipe(),
        }
        if self.settings.tiling is not None:
            recipe |= {"tiling_versions": TILING_VERSIONS, **self.settings.scoring.on_tiles()}
        packages = required_packages(self.model)
        return {**recipe, "package": packages} if packages else recipe

    def detector(self, device: str = "auto", batch_size: BatchSize = "auto") -> Detector:
        """The detector, fitted; the embedder is loaded with the first image.

        Args:
            device: where a torch embedder runs.
            batch_size: images per forward pass.

        Returns:
            A detector that can predict at once.

        Raises:
            ImportError: the embedder needs an extra that is not installed.
        """
        from uad_orchestrator.detectors.embedding.open_stream import open_stream

        stream = open_stream(
            self.embedder, preset=self.preset, weights=self.weights, device=device, batch_size=batch_size
        )
        handed = {"trusted_checkpoints": self.trusted, "device": device}
        parts = {name: part for name, part in handed.items() if name in detector_spec(self.model).parts}
        detector = build_detector(self.model, self.settings, stream, **parts)
        known = self.calibration
        return detector.restore(self.state, known.image_point, known.pixel_point, known.map_scale)
