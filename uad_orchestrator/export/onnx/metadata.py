"""What an exported file says of itself: thresholds, where they come from, the card, versions, how well it agrees."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from uad_orchestrator.export.onnx.verification import Agreement
from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.storage.digests import file_digest

SCHEMA = 1
"""Raised when a key of the metadata, an input or an output means something else than before."""

PACKAGES = ("uad_orchestrator", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "onnx")


def metadata(bundle: Bundle, agreements: Sequence[Agreement]) -> dict[str, str]:
    """The file's metadata properties; of a threshold that there is none of the key is left out, its source says why.

    Args:
        bundle: the cell.
        agreements: of the runtimes that it was run by.
    """
    points = {"image": bundle.calibration.image_point, "pixel": bundle.calibration.pixel_point}
    if bundle.calibration.review_point is not None:
        points["review"] = bundle.calibration.review_point
    thresholds = {
        f"uad.{name}_threshold": repr(point.threshold)
        for name, point in points.items()
        if not math.isnan(point.threshold)
    }
    return {
        "uad.schema": str(SCHEMA),
        "uad.name": bundle.name,
        **thresholds,
        **{f"uad.{name}_threshold_source": point.source for name, point in points.items()},
        "uad.card": json.dumps(_card(bundle)),
        "uad.versions": json.dumps(_versions()),
        "uad.verification": json.dumps([agreement_json(each) for each in agreements]),
    }


def agreement_json(agreement: Agreement) -> dict[str, Any]:
    """The fields by name; NaN is null."""
    values = asdict(agreement)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def is_ours(path: Path) -> bool:
    """Whether a file is an ONNX file that this package wrote."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError):
        return False
    return any(entry.key == "uad.schema" for entry in model.metadata_props)


def add_metadata(path: Path, values: dict[str, str]) -> None:
    """Write properties into an ONNX file."""
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, values)
    onnx.save(model, str(path))


def _card(bundle: Bundle) -> dict[str, Any]:
    """What the cell is, as a bundle's model card and its files say it."""
    settings, calibration = bundle.settings, bundle.calibration
    return {
        "name": bundle.name,
        "model": bundle.model,
        "recipe": bundle.recipe(),
        "settings": {
            stage: getattr(settings, stage).model_dump(mode="json") for stage in ("fit", "scoring", "maps")
        },
        "weights_sha256": None if bundle.weights is None else file_digest(bundle.weights),
        "fitted_images": len(bundle.state.facts["images"]),
        "image_threshold": calibration.image_point.to_json(),
        "pixel_threshold": calibration.pixel_point.to_json(),
        "model_card": bundle.documents.get("MODEL_CARD.md", ""),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
