"""From a result to its record: what a bundle adds to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.inference.records.record import LineRecord
from uad_orchestrator.inference.results import InferenceResult
from uad_orchestrator.metrics.report.figures import finite_or_none
from uad_orchestrator.storage.file_names import printable

LONGEST_NAME = 4096


@dataclass(frozen=True)
class LineModel:
    """What runs on the line.

    Attributes:
        category: ``dataset/category``.
        detector: its name.
        model: digest (hex) of its fitted state.
        threshold, review_threshold: None where there is none.
    """

    category: str
    detector: str
    model: str
    threshold: float | None
    review_threshold: float | None

    @classmethod
    def of(cls, bundle: Bundle) -> LineModel:
        """What a bundle says.

        Raises:
            BundleError: its name does not say the cell.
        """
        category, detector = bundle.cell
        calibration = bundle.calibration
        return cls(
            category,
            detector,
            bundle.state.digest(),
            finite_or_none(calibration.image_point.threshold),
            finite_or_none(calibration.review_threshold),
        )

    def record(self, result: InferenceResult) -> LineRecord:
        """The record of a result that is there now; nothing is kept of it yet.

        Args:
            result: of an image file, with file and look.

        Raises:
            ValueError: it has none of them: ``infer(..., include_files=True)`` gives both.
        """
        look, file = result.look, result.file
        if look is None or file is None:
            raise ValueError(f"{result.name}: no file came with its result: infer(..., include_files=True)")
        red, green, blue = look.colour
        return LineRecord(
            id=uuid.uuid4().hex,
            time=datetime.now(UTC),
            category=self.category,
            detector=self.detector,
            model=self.model,
            image=printable(result.name)[:LONGEST_NAME],
            digest=file.digest,
            score=result.score,
            threshold=self.threshold,
            review_threshold=self.review_threshold,
            label=result.label,
            decision=result.decision,
            seconds=result.timings.total,
            height=look.size[0],
            width=look.size[1],
            brightness=look.brightness,
            sharpness=finite_or_none(look.sharpness),
            red=red,
            green=green,
            blue=blue,
            warnings=tuple(remark.text for remark in result.remarks),
        )
