"""``bundle.json``: what a bundle's detector is, beside its state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from uad_orchestrator import __version__
from uad_orchestrator.detectors.protocol.spec import StageSettings
from uad_orchestrator.embedders.create import embedder_spec
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weight_files import HUB
from uad_orchestrator.inference.bundle import Bundle, BundleError, Calibration
from uad_orchestrator.inference.bundle_files.check import MapStatistics, Point, check_review, read_json
from uad_orchestrator.inference.bundle_files.weights import WeightsReference
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.finishing import MapScale
from uad_orchestrator.storage.regular_file import read_regular

FORMAT_VERSION = 1
MANIFEST = "bundle.json"


class BundleManifest(BaseModel):
    """``bundle.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format_version: int
    created_with: str
    name: str
    recipe: dict[str, Any]
    settings: dict[str, Any]
    embedder: dict[str, Any] | None
    preset: list[dict[str, Any]]
    weights: WeightsReference | None
    image_point: Point
    pixel_point: Point
    scores: tuple[FiniteFloat, ...]
    maxima: tuple[FiniteFloat, ...]
    normal_maps: MapStatistics
    map_scale: MapScale | None = None
    reading: dict[str, Any] | None = None
    """Where its images are not read as their files say; left out otherwise, so that earlier versions read it."""
    review_point: Point | None = None
    """Where review begins; left out where nothing is reviewed, likewise."""

    def calibration(self) -> Calibration:
        """Its thresholds, and what they were taken from."""
        return Calibration(
            image_point=OperatingPoint.from_json(self.image_point),
            pixel_point=OperatingPoint.from_json(self.pixel_point),
            scores=self.scores,
            maxima=self.maxima,
            normal_maps=self.normal_maps,
            map_scale=self.map_scale,
            review_point=None if self.review_point is None else OperatingPoint.from_json(self.review_point),
        )

    def embedder_settings(self) -> EmbedderSettings | None:
        """Those of its embedder; None where the detector brings a network of its own."""
        if self.embedder is None:
            return None
        return embedder_spec(str(self.embedder.get("name"))).settings.model_validate(self.embedder)

    def install_hint(self) -> str:
        """For messages: what would read the bundle as it was meant."""
        made_with = [f"uad_orchestrator {self.created_with}", *map(" ".join, self.packages())]
        return f", or install {' with '.join(made_with)}, which wrote the bundle"

    def packages(self) -> list[tuple[str, str]]:
        """The packages that brought the bundle's detector and its embedder, with their versions."""
        recipes = [self.recipe, self.recipe.get("embedder")]
        packages = [recipe.get("package") for recipe in recipes if isinstance(recipe, Mapping)]
        named = {
            name: version for each in packages if isinstance(each, Mapping) for name, version in each.items()
        }
        return [(name, str(version)) for name, version in named.items()]


def write_manifest(
    bundle: Bundle, weights: WeightsReference | None, preset: list[dict[str, Any]], directory: Path
) -> None:
    """Write a bundle's manifest.

    Args:
        bundle: what is written.
        weights: as ``put_weights`` noted them.
        preset: as ``write_preset`` wrote it.
        directory: the bundle's folder.
    """
    manifest = _manifest(bundle, weights, preset)
    unused = {name for name in ("reading", "review_point") if getattr(manifest, name) is None}
    values = manifest.model_dump(mode="json", exclude=unused)
    (directory / MANIFEST).write_text(json.dumps(values, indent=1, allow_nan=False))


def read_manifest(path: Path) -> BundleManifest:
    """What ``write_manifest`` wrote.

    Raises:
        BundleError: it is of another format, or holds what no export writes.
    """
    values = read_json(path)
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path}: bundle format {version!r}; this version reads {FORMAT_VERSION}. Export the cell again, "
            "or use the version of uad_orchestrator that wrote it"
        )
    try:
        manifest = BundleManifest.model_validate_json(read_regular(path))
    except ValidationError as error:
        raise BundleError(f"{path}: {error}") from error
    check_review(manifest.image_point, manifest.review_point, path)
    return manifest


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(values))


def _manifest(
    bundle: Bundle, weights: WeightsReference | None, preset: list[dict[str, Any]]
) -> BundleManifest:
    calibration = bundle.calibration
    return BundleManifest(
        format_version=FORMAT_VERSION,
        created_with=__version__,
        name=bundle.name,
        recipe=as_json(bundle.recipe()),
        settings=_flat(bundle.settings),
        embedder=_embedder(bundle.embedder, weights),
        preset=preset,
        weights=weights,
        image_point=calibration.image_point.stored(),
        pixel_point=calibration.pixel_point.stored(),
        scores=calibration.scores,
        maxima=calibration.maxima,
        normal_maps=dict(calibration.normal_maps),
        map_scale=calibration.map_scale,
        reading=bundle.reading.to_json() or None,
        review_point=None if calibration.review_point is None else calibration.review_point.stored(),
    )


def _embedder(settings: EmbedderSettings | None, weights: WeightsReference | None) -> dict[str, Any] | None:
    """The embedder's settings; its weights are a hub's, or called by their name alone."""
    if settings is None:
        return None
    values = settings.model_dump(mode="json", exclude_none=True)
    if weights is not None and not (settings.weights or HUB).startswith(HUB):
        values["weights"] = weights.name
    return values


def _flat(settings: StageSettings) -> dict[str, Any]:
    """The settings as a project file has them, which ``DetectorSpec.cut`` takes."""
    fit, scoring = (part.model_dump(mode="json") for part in (settings.fit, settings.scoring))
    tiling = None if settings.tiling is None else settings.tiling.model_dump(mode="json")
    return {**fit, **scoring, "maps": settings.maps.model_dump(mode="json"), "tiling": tiling}
