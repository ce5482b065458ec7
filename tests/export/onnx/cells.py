"""Small cells with torch embedders of random weights, and pictures of odd sizes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from uad_orchestrator.detectors.create import create_detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.bundle import Bundle, Calibration
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.preprocessing.presets import resolve_preset

RESNET = {
    "name": "resnet18",
    "weights": "random:0",
    "image_size": 64,
    "layers": ("layer1", "layer2"),
    "dimension": 96,
}
VIT = {"name": "vit_tiny_patch16_224", "weights": "random:0", "image_size": 48}
NO_POINT = OperatingPoint(float("nan"), "none: not calibrated", 0, 0.1)


def picture(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    """``(height, width, 3)`` uint8: a coloured disc on an uneven ground."""
    draws = np.random.default_rng(seed)
    ground = draws.normal(110, 12, (height, width, 3)) + np.linspace(0, 60, width)[:, None] * (1, 0.7, 0.4)
    ground = cv2.GaussianBlur(ground.astype(np.float32), (0, 0), 2)
    centre = (width // 2 + int(draws.integers(-3, 4)), height // 2)
    return np.clip(cv2.circle(ground, centre, min(height, width) // 4, (200, 150, 90), -1), 0, 255).astype(
        np.uint8
    )


def test_pictures(*sizes: tuple[int, int]) -> list[ImageSource]:
    """Pictures of the normals' size, one of them with a scratch, and of these sizes."""
    found = [picture(100), picture(101), *(picture(102 + i, *size) for i, size in enumerate(sizes))]
    found[1][20:40, 30:60] = 20
    return [ImageSource.from_array(each, name=f"picture {i}") for i, each in enumerate(found)]


test_pictures.__test__ = False  # type: ignore[attr-defined]


def fitted(model: str, embedder: dict[str, Any], preset: list[Any] | None = None, **settings: Any) -> Bundle:
    """A detector fitted on eight pictures, as a bundle."""
    own = resolve_preset("own", {"own": preset or []})
    values = {"contamination": 0.2, **settings}
    chosen = EmbedderSettings(**embedder)
    detector = create_detector(model, embedder=chosen, preset=own, device="cpu", **values)
    detector.fit([picture(seed) for seed in range(8)])
    calibration = Calibration(
        detector.image_point_,
        detector.pixel_point_,
        tuple(detector.decision_scores_),
        (),
        {},
        detector.map_scale_,
    )
    return Bundle(
        name="line7/disc x own",
        model=model,
        settings=detector_spec(model).cut(values),
        embedder=chosen,
        preset=own,
        weights=None,
        state=detector.state_,
        calibration=calibration,
        documents={"MODEL_CARD.md": "# disc\n"},
    )


def unfitted(
    model: str = "vision_patchcore",
    embedder: dict[str, Any] | None = None,
    preset: list[Any] | None = None,
    *,
    arrays: dict[str, np.ndarray] | None = None,
    fitted_on: dict[str, Any] | None = None,
    **settings: Any,
) -> Bundle:
    """A bundle as far as a refusal looks at it: no network is built for it."""
    facts = {"images": [], "precision": "float32", "normalised": False}
    looked = {"sizes": [[72, 96]], "exact_sizes": True, "bits": [8], "channels": [3], "brightness": None}
    looked |= {"sharpness": None, "largest": 1.0, "tint": None, **(fitted_on or {})}
    return Bundle(
        name="line7/disc x own",
        model=model,
        settings=detector_spec(model).cut(settings),
        embedder=EmbedderSettings(**(RESNET if embedder is None else embedder)),
        preset=resolve_preset("own", {"own": preset or []}),
        weights=None,
        state=DetectorState(
            {"bank": np.zeros((4, 8), np.float32), **(arrays or {})}, {**facts, "fitted_on": looked}
        ),
        calibration=Calibration(NO_POINT, NO_POINT, (), (), {}),
    )
