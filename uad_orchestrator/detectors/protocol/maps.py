"""From responses to anomaly maps: one recipe, for the library's maps and for those of a cell.

In order: the patch grid is laid on the image and blurred (of a tiled image each tile's, which are then
blended), normalised, opened or closed, clipped; regions too small to count are lowered to the pixel threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from uad_orchestrator.detectors.protocol.settings import MapSettings
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.detectors.protocol.tiling_settings import TilingSettings
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.metrics.thresholds import calibrate
from uad_orchestrator.metrics.thresholds.operating_point import NO_MAP, OperatingPoint
from uad_orchestrator.postprocess import finishing
from uad_orchestrator.postprocess.anomaly_map import anomaly_map, gaussian_blur, resize_to_image
from uad_orchestrator.postprocess.blending import Blend, blend_tiles
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.postprocess.map_set import NormalMapStatistics, PixelMoments
from uad_orchestrator.threads import available_threads, ordered_map

MAP_THREADS = 4
"""Threads that make maps at most: one map takes few milliseconds, and more threads wait longer for each other."""


@dataclass(frozen=True)
class NormalMaps:
    """What the maps of the calibration normals say.

    Attributes:
        scale: what normalisation takes; None where there is none.
        point: the pixel threshold, from the maps' maxima.
        summary: of the maps as the threshold sees them (``NormalMapStatistics.summary``).
    """

    scale: MapScale | None
    point: OperatingPoint
    summary: Mapping[str, float | int | None]


@dataclass(frozen=True)
class MapRecipe:
    """How a map is made of a response.

    Attributes:
        settings: the ``maps:`` settings.
        blend: of the maps of overlapping tiles.
    """

    settings: MapSettings
    blend: Blend = "hann"

    @classmethod
    def of(cls, settings: MapSettings, tiling: TilingSettings | None) -> MapRecipe:
        """The recipe of a detector, tiled or not."""
        return cls(settings) if tiling is None else cls(settings, tiling.blend)

    def anomaly_map(self, response: Response, scale: MapScale | None, threshold: float) -> np.ndarray:
        """The finished map ``(H, W)`` float32, at the image's size.

        Args:
            scale: of the normal maps (``NormalMaps.scale``).
            threshold: the pixel threshold, of which ``min_area`` tells regions by; NaN: it removes none.

        Raises:
            ValueError: the model gives no map.
            RuntimeError: the settings normalise and there is no scale.
        """
        made = self.before_removal(response, scale)
        if not self.settings.min_area:
            return made
        return finishing.without_small_regions(made, threshold, self.settings.min_area)

    def before_removal(self, response: Response, scale: MapScale | None) -> np.ndarray:
        """The map with every step but the removal of small regions: what the pixel threshold is taken from."""
        settings, made = self.settings, self.laid(response)
        if settings.normalisation == "normal_maps":
            if scale is None:
                raise RuntimeError(
                    "maps.normalisation: normal_maps takes the mean and the spread of the calibration normals' "
                    "maps: call fit first, or hand them to restore as map_scale"
                )
            made = finishing.normalised(made, scale)
        if settings.morphology is not None:
            made = finishing.morphology(made, **settings.morphology.model_dump())
        return made if settings.clip is None else finishing.clipped(made, *settings.clip)

    def laid(self, response: Response) -> np.ndarray:
        """The patch scores laid on the image and blurred, ``(H, W)`` float32; tiles blended."""
        if response.patch_grid is None:
            raise ValueError(f"{response.name}: {NO_MAP}")
        size, tiles, sigma = response.original_size, response.tiles, self.settings.gaussian_sigma
        if tiles is None:
            return self._lay(response.patch_grid, response, size, sigma)
        resized = tiles.size != size
        # sigma is in pixels of the image, which those of a tile are not
        blurred_last = resized and self.settings.sigma_space == "image"
        maps = (
            self._lay(grid, response, (tiles.side, tiles.side), 0.0 if blurred_last else sigma)
            for grid in response.patch_grid
        )
        blended = blend_tiles(maps, tiles, self.blend)
        if resized:
            blended = resize_to_image(blended, Region(0.0, 0.0, *size), size)
        return gaussian_blur(blended, sigma) if blurred_last and sigma > 0 else blended

    def _lay(
        self, patch_grid: np.ndarray, response: Response, size: tuple[int, int], sigma: float
    ) -> np.ndarray:
        return anomaly_map(
            patch_grid,
            response.region,
            size,
            response.input_size,
            gaussian_sigma=sigma,
            sigma_space=self.settings.sigma_space,
        )


def calibrate_maps(
    recipe: MapRecipe,
    responses: Callable[[], Iterable[Response]],
    contamination: float,
    source: str,
    *,
    robust: bool = False,
    largest_group: int | None = 1,
) -> NormalMaps:
    """What the calibration normals' maps say; NaN and the reason where the model gives none.

    Maps are made in threads, one held in each; what is taken of them is put together in the normals' order.

    Args:
        responses: gives the normals' responses from the first on, each time it is called: twice where maps
            are normalised.
        contamination: nominal false-positive rate.
        source: where the normals come from, as in ``OperatingPoint.source``.
        robust: leave maps aside, of threshold, scale and summary alike, whose maxima are far above all others.
        largest_group: most images of one group among the normals; None: it is not known.

    Raises:
        ValueError: the settings normalise and there are no normals.
    """
    if any(response.patch_grid is None for response in islice(responses(), 1)):
        return NormalMaps(
            None, calibrate([], contamination, f"none: {NO_MAP}"), NormalMapStatistics().summary()
        )
    threads = min(available_threads(), MAP_THREADS)

    def statistics(make: Callable[[Response], np.ndarray]) -> tuple[OperatingPoint, NormalMapStatistics]:
        """The threshold of maps, and the statistics of those it was taken from."""
        moments = ordered_map(partial(_moments, make), responses(), threads=threads, ahead=2 * threads)
        of_maps = list(moments)
        maxima = [each.maximum for _, each in of_maps]
        names = [name for name, _ in of_maps]
        point = calibrate(
            maxima, contamination, source, robust=robust, names=names, largest_group=largest_group
        )
        result = NormalMapStatistics()
        for name, each in of_maps:
            if name not in point.left_aside:
                result.add(each)
        return point, result

    scale = None
    if recipe.settings.normalisation == "normal_maps":
        scale = _scale(statistics(recipe.laid)[1], source)
    point, seen = statistics(lambda response: recipe.before_removal(response, scale))
    return NormalMaps(scale, point, seen.summary())


def _moments(make: Callable[[Response], np.ndarray], response: Response) -> tuple[str, PixelMoments]:
    return response.name, PixelMoments.of(make(response))


def _scale(raw: NormalMapStatistics, source: str) -> MapScale:
    summary = raw.summary()
    mean, std = summary["mean"], summary["std"]
    if mean is None or std is None:
        raise ValueError(
            "maps.normalisation: normal_maps needs normal images the model does not hold: "
            f"{source.removeprefix('none: ')}; or take normalisation: none"
        )
    return MapScale(mean, std)
