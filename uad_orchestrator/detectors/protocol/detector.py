"""What every detector is: three stages that pass plain values, and scikit-learn's manners on top of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from uad_orchestrator.detectors.embedding.placement import PatchCells
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
from uad_orchestrator.detectors.protocol.calibration import (
    CalibrationImages,
    choose_calibration_images,
    how_refilled,
    largest_group,
    of_some_groups,
    responses_without,
    scaled_responses,
)
from uad_orchestrator.detectors.protocol.fitted_look import fit_noting_look
from uad_orchestrator.detectors.protocol.latest_responses import LatestResponses
from uad_orchestrator.detectors.protocol.maps import MAP_THREADS, MapRecipe, calibrate_maps
from uad_orchestrator.detectors.protocol.settings import (
    CoresetCalibration,
    MapSettings,
    ScoringSettings,
    Settings,
)
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, groups_by_digest
from uad_orchestrator.embedders.torch_embedder import ran_on
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.metrics.thresholds import calibrate
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.threads import available_threads, ordered_map

Images = Sequence[Path | str] | Sequence[RgbImage] | Sequence[ImageSource] | np.ndarray
"""Paths, a list of arrays, or one ``(n, h, w, c)`` array."""


class Detector(ABC):
    """Unsupervised visual anomaly detection: fitted on normal images, scores any image, shows where.

    The stages ``fit_state``, ``respond`` and ``anomaly_map`` change nothing in the detector and hand over
    plain values; ``fit``, ``decision_function``, ``predict`` and the maps are these stages in scikit-learn's
    manners. ``create_detector`` makes one from flat settings.

    Args:
        stream: turns images into patch embeddings.
        fit: the settings of ``fit_state``.
        scoring: the settings of ``respond`` and of the calibration.
        maps: the settings of ``anomaly_map``.

    Attributes:
        stream, fit_settings, scoring_settings, map_settings: as given.
        state_: the fitted state.
        threshold_: image scores above it mean anomalous; NaN where there was nothing to calibrate on.
        pixel_threshold_: a normal image's map exceeds it anywhere with probability about ``contamination``.
        decision_scores_: ``(n,)`` float64 scores of the calibration normals.
        image_point_, pixel_point_: both thresholds with where they come from.
        map_scale_: what ``maps.normalisation`` takes from the normals' maps; None where it is off.

    >>> from uad_orchestrator.detectors import create_detector
    >>> normals = np.random.default_rng(0).integers(90, 110, (6, 64, 64, 3), dtype=np.uint8)
    >>> detector = create_detector("vision_patchcore", contamination=0.2).fit(normals)
    >>> detector.predict([normals[0], np.full((64, 64, 3), 255, np.uint8)])
    array([0, 1])
    """

    transductive: bool = False
    """Whether an image's score depends on the images it is scored with: then all are handed over together."""

    state_: DetectorState
    threshold_: float
    pixel_threshold_: float
    decision_scores_: np.ndarray
    image_point_: OperatingPoint
    pixel_point_: OperatingPoint
    map_scale_: MapScale | None = None

    def __init__(
        self, stream: EmbeddingStream, fit: Settings, scoring: ScoringSettings, maps: MapSettings
    ) -> None:
        self.stream = stream
        self.fit_settings = fit
        self.scoring_settings = scoring
        self.map_settings = maps
        self._latest = LatestResponses(together=self.transductive)

    # ---- stages ------------------------------------------------------------------------------------------

    @abstractmethod
    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The fitted state: all that is learnt from normal images.

        Args:
            images: the normals, in any order.

        Returns:
            Plain arrays and facts, of which ``images`` (``fitted_images``) is one.

        Raises:
            ValueError: no images.
        """

    @abstractmethod
    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """Respond to images one at a time, in order.

        Args:
            state: from ``fit_state``.
            images: consumed a batch at a time.
            leave_out: what the state learnt from an image's own group is left out when that image is scored.

        Returns:
            A response per image: its score, higher is more anomalous, and its ``(gh, gw)`` patch scores.
        """

    @property
    def map_recipe(self) -> MapRecipe:
        """How maps are made of responses."""
        return MapRecipe(self.map_settings)

    def anomaly_map(self, response: Response) -> np.ndarray:
        """The anomaly map of a response.

        Args:
            response: from ``respond``.

        Returns:
            ``(H, W)`` float32, at the original image's size; higher is more anomalous.

        Raises:
            ValueError: the model gives none.
            RuntimeError: not fitted, and ``maps.normalisation`` takes statistics of the normals' maps.
        """
        threshold = getattr(self, "pixel_threshold_", float("nan"))
        return self.map_recipe.anomaly_map(response, self.map_scale_, threshold)

    def calibration_images(
        self, state: DetectorState, train: Sequence[ImageSource], validation: Sequence[ImageSource] = ()
    ) -> CalibrationImages:
        """The normals that set the thresholds.

        Args:
            state: from ``fit_state``.
            train: the normals it was fitted on, and those that were at hand.
            validation: held-out normals.

        Returns:
            The images, where they come from (``OperatingPoint.source``), and whether to leave each out of the state
            when it is scored; no images where none can, and then the source says why.
        """
        images, source, leave_out = choose_calibration_images(
            state, train, validation, self.scoring_settings.calibration, self.can_leave_out(state)
        )
        if leave_out:
            group_of = groups_by_digest(state)
            some = of_some_groups(images, group_of, self._most_refilled(state))
            source += how_refilled(images, some, group_of)
        return images, source, leave_out

    def calibration_responses(
        self,
        state: DetectorState,
        train: Sequence[ImageSource],
        images: Sequence[ImageSource],
        leave_out: bool,
    ) -> Iterator[Response]:
        """Respond to the normals that calibrate.

        Args:
            state: from ``fit_state``.
            train: the normals it was fitted on, and those that were at hand.
            images: of ``calibration_images``, as is ``leave_out``.
            leave_out: each image is held against what was learnt from other groups, as if its own had not been there.

        Returns:
            A response per image, in order.
        """
        group_of = groups_by_digest(state)
        some = of_some_groups(images, group_of, self._most_refilled(state)) if leave_out else []
        if not some:
            return self.respond(state, images, leave_out)
        fitted = [image for image in train if image.digest in group_of]

        def states(groups: Sequence[str]) -> Iterator[DetectorState]:
            return self.states_without(state, fitted, groups)

        if len(some) == len(images):
            return responses_without(some, group_of, states, self.respond)
        both = responses_without(
            some, group_of, states, lambda without, group: self.respond_both(state, without, group)
        )
        return scaled_responses(images, some, both, lambda left: self.respond(state, left, True))

    def groups_to_refill(self, state: DetectorState) -> int:
        """For how many groups ``states_without`` is to be taken.

        Args:
            state: from ``fit_state``.

        Returns:
            0, the default, where ``respond`` with ``leave_out`` finds no holes that a state fitted without the image
            would not have. Where there are more groups, the scores of the others are scaled as those of these are.
        """
        return 0

    def states_without(
        self, state: DetectorState, fitted: Sequence[ImageSource], groups: Sequence[str]
    ) -> Iterator[DetectorState]:
        """The states as they would be without the images of a group.

        Args:
            state: from ``fit_state``.
            fitted: the images it was fitted on.
            groups: of them, one after the other.

        Returns:
            A state per group; by default fitted on the other images.
        """
        held = groups_by_digest(state)
        return (
            self.fit_state([image for image in fitted if held[image.digest] != group]) for group in groups
        )

    def respond_both(
        self, state: DetectorState, without: DetectorState, images: Sequence[ImageSource]
    ) -> Iterator[tuple[Response, Response]]:
        """Respond to the images of a group as if they had not been there, and with what was learnt from them left out.

        Args:
            state: from ``fit_state``.
            without: of ``states_without``, for their group.
            images: fitted ones.

        Returns:
            What ``respond`` says by ``without``, and by ``state`` with ``leave_out``.
        """
        return zip(self.respond(without, images), self.respond(state, images, True), strict=True)

    def _most_refilled(self, state: DetectorState) -> int:
        calibration = self.scoring_settings.calibration
        as_they_are = isinstance(calibration, CoresetCalibration) and calibration.method == "leave_out"
        return 0 if as_they_are else self.groups_to_refill(state)

    def can_leave_out(self, state: DetectorState) -> Callable[[ImageSource], bool]:
        """Whether ``respond`` can leave out what the state learnt from an image it was fitted on.

        Args:
            state: from ``fit_state``.

        Returns:
            A function of an image; by default it cannot.
        """
        return lambda image: False

    def cells(self, source: ImageSource) -> PatchCells:
        """Where the patches of an image, or of a tile, lie on it, before anything is fitted.

        Args:
            source: it is embedded, unless the cache has it.

        Returns:
            The image's size, the region the patch grid covers and the grid's shape.
        """
        return self.stream.cells(source)

    # ---- scikit-learn's manners --------------------------------------------------------------------------

    def fit(
        self,
        images: Images,
        y: None = None,
        *,
        validation: Images | None = None,
        input_format: str = "rgb_u8_hwc",
    ) -> Self:
        """Fit on normal images and calibrate both thresholds; every image is embedded once.

        Args:
            images: the normals.
            y: not used; there for scikit-learn's pipelines.
            validation: further normals, never fitted, to calibrate on; None: each fitted image is left out in
                turn.
            input_format: what arrays are (see ``ImageFormat``); it does not matter for paths.

        Returns:
            The detector itself.

        Raises:
            ValueError: no images, or arrays that are not of ``input_format``.
        """
        train = _sources(images, input_format)
        held_out = [] if validation is None else _sources(validation, input_format)
        with self.stream.caching():
            state = fit_noting_look(self.fit_state, train)
            self._latest.forget()
            self.state_ = state
            self._calibrate(train, held_out)
            self.stream.handed_on.drop()
        return self

    def restore(
        self,
        state: DetectorState,
        image_point: OperatingPoint,
        pixel_point: OperatingPoint,
        map_scale: MapScale | None = None,
    ) -> Self:
        """Take over what was fitted and calibrated before, instead of ``fit``.

        Args:
            state: from ``fit_state``.
            image_point: the threshold of image scores.
            pixel_point: the threshold of map pixels.
            map_scale: needed where ``maps.normalisation`` is on.

        Returns:
            The detector itself.
        """
        self._latest.forget()
        self.map_scale_ = map_scale
        self.state_ = state
        self.image_point_, self.threshold_ = image_point, image_point.threshold
        self.pixel_point_, self.pixel_threshold_ = pixel_point, pixel_point.threshold
        return self

    def decision_function(self, images: Images, *, input_format: str = "rgb_u8_hwc") -> np.ndarray:
        """Image scores.

        Args:
            images: paths, a list of arrays, or one ``(n, h, w, c)`` array.
            input_format: what arrays are (see ``ImageFormat``).

        Returns:
            ``(n,)`` float64; higher is more anomalous.

        Raises:
            RuntimeError: not fitted.
            ValueError: arrays that are not of ``input_format``.
        """
        self._check_fitted()
        return np.array(
            [r.score for r in self._responses_to(_sources(images, input_format))], dtype=np.float64
        )

    def predict(self, images: Images, *, input_format: str = "rgb_u8_hwc") -> np.ndarray:
        """Normal or anomalous.

        Args:
            images: paths, a list of arrays, or one ``(n, h, w, c)`` array.
            input_format: what arrays are (see ``ImageFormat``).

        Returns:
            ``(n,)`` int64: 1 where the image score is greater than ``threshold_``, else 0.

        Raises:
            RuntimeError: not fitted, or nothing was left to calibrate the threshold on (says why).
        """
        self._check_fitted()
        if np.isnan(self.threshold_):
            raise RuntimeError(
                f"there is no threshold to predict with: {self.image_point_.reason}. "
                "decision_function and the anomaly maps work without"
            )
        return (self.decision_function(images, input_format=input_format) > self.threshold_).astype(np.int64)

    def get_anomaly_map(
        self, image: Path | str | RgbImage, *, input_format: str = "rgb_u8_hwc"
    ) -> np.ndarray:
        """The anomaly map of one image.

        Args:
            image: a path or an array.
            input_format: what an array is (see ``ImageFormat``).

        Returns:
            ``(H, W)`` float32, at the image's own size; higher is more anomalous.

        Raises:
            RuntimeError: not fitted.
            ValueError: the model gives no map.
        """
        self._check_fitted()
        return self.anomaly_map(next(self._responses_to(_sources([image], input_format))))

    def predict_anomaly_map(
        self, images: Images, *, input_format: str = "rgb_u8_hwc"
    ) -> np.ndarray | list[np.ndarray]:
        """The anomaly maps.

        Args:
            images: paths, a list of arrays, or one ``(n, h, w, c)`` array.
            input_format: what arrays are (see ``ImageFormat``).

        Returns:
            ``(n, H, W)`` float32 where all images are of one size, else a list of ``(H, W)``.

        Raises:
            RuntimeError: not fitted.
            ValueError: the model gives no maps.
        """
        maps = list(self._maps(_sources(images, input_format)))
        return np.stack(maps) if len({m.shape for m in maps}) == 1 else maps

    @property
    def embedded_images(self) -> int:
        """Images sent through the embedder so far."""
        return self.stream.embedded_images

    @property
    def embedded_views(self) -> int:
        """Images and rotated views sent through the embedder so far."""
        return self.stream.embedded_views

    @property
    def device(self) -> str:
        """Where the network ran; ``cached`` where no image had to be embedded."""
        return ran_on(self.stream.embedder) if self.embedded_views else "cached"

    def _calibrate(self, train: list[ImageSource], validation: list[ImageSource]) -> None:
        images, source, leave_out = self.calibration_images(self.state_, train, validation)
        remaining = self.calibration_responses(self.state_, train, images, leave_out)
        answered = list[Response]()

        def responses() -> Iterator[Response]:
            """From the first on: an image is answered while the map of the one before it is made."""
            yield from answered
            for response in remaining:
                answered.append(response)
                yield response

        contamination = self.scoring_settings.contamination
        robust, group = self.scoring_settings.calibration.robust, largest_group(images)
        normals = calibrate_maps(
            self.map_recipe, responses, contamination, source, robust=robust, largest_group=group
        )
        scores = [response.score for response in responses()]
        self.decision_scores_ = np.array(scores, dtype=np.float64)
        names = [response.name for response in responses()]
        image_point = calibrate(
            self.decision_scores_, contamination, source, robust=robust, names=names, largest_group=group
        )
        self.restore(self.state_, image_point, normals.point, normals.scale)

    def _maps(self, sources: list[ImageSource]) -> Iterator[np.ndarray]:
        self._check_fitted()
        threads = min(available_threads(), MAP_THREADS)
        return ordered_map(self.anomaly_map, self._responses_to(sources), threads=threads, ahead=2 * threads)

    def _responses_to(self, sources: list[ImageSource]) -> Iterator[Response]:
        return self._latest.responses(sources, lambda missing: self.respond(self.state_, missing))

    def _check_fitted(self) -> None:
        if not hasattr(self, "state_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet: call fit first")


def _sources(images: Any, input_format: str) -> list[ImageSource]:
    from uad_orchestrator.images.formats import sources_from

    whole = isinstance(images, np.ndarray | str | Path)
    return sources_from(images if whole else list(images), input_format)
