"""What inference says about one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.look import Look
from uad_orchestrator.images.remarks import Remark
from uad_orchestrator.images.source import ImageFile
from uad_orchestrator.metrics.thresholds.decision import Decision
from uad_orchestrator.postprocess.regions import DefectRegion
from uad_orchestrator.storage.file_names import printable


@dataclass(frozen=True)
class InferenceTimings:
    """Where an image's time went, in seconds.

    Attributes:
        read: reading and decoding.
        respond: preset, embedder and score: its share of its batch.
        map: making the anomaly map; 0 where none was asked for.
        regions: finding the defects in it.
    """

    read: float
    respond: float
    map: float = 0.0
    regions: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.read + self.respond + self.map + self.regions


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """One image.

    Attributes:
        name: its path, or ``images[3]``.
        score: the image score; higher is more anomalous.
        label: 1 where the score is greater than the image threshold, else 0; None where there is no threshold.
        anomaly_map: ``(H, W)`` float32, at the image's own size; None where none was asked for, or the
            detector gives none.
        mask: ``(H, W)`` bool: where the map is above the pixel threshold; None as ``regions``.
        regions: the defects, that with the largest map value first; empty where nothing is above the pixel
            threshold, None where there is no map or no pixel threshold.
        timings: where its time went.
        reasons: why ``label``, ``decision``, ``anomaly_map`` or ``regions`` is None, by that name.
        image: ``(H, W, 3)`` RGB, uint8 or uint16, where it was asked for.
        decision: ``pass``, ``review`` or ``reject``; ``review`` only where the bundle has a grey zone. None where there
            is no threshold, or no begin of the review that was asked for.
        remarks: what speaks against trusting the result: pixels that alpha hides, another size or look than the
            detector was fitted on.
        look: the image in a few numbers; None where nothing needed it.
        file: the file it was read from, where it was asked for and there is one.
    """

    name: str
    score: float
    label: int | None
    anomaly_map: np.ndarray | None
    mask: np.ndarray | None
    regions: tuple[DefectRegion, ...] | None
    timings: InferenceTimings
    reasons: Mapping[str, str] = field(default_factory=dict)
    image: RgbImage | None = None
    remarks: tuple[Remark, ...] = ()
    decision: Decision | None = None
    look: Look | None = None
    file: ImageFile | None = None

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as JSON values.

        Returns:
            ``image``, ``score``, ``label``, ``decision``, ``regions``, ``seconds``, ``reasons`` and ``warnings``.
        """
        return {
            "image": printable(self.name),
            "score": self.score,
            "label": self.label,
            "decision": self.decision,
            "regions": None if self.regions is None else [region.to_json() for region in self.regions],
            "seconds": asdict(self.timings) | {"total": self.timings.total},
            "reasons": dict(self.reasons),
            "warnings": [remark.text for remark in self.remarks],
        }
