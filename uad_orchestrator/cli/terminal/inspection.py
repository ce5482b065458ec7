"""What ``uad infer`` does with each result: a line, a map, a picture, and the exit status of them all."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from uad_orchestrator.cli.terminal.output import FAILED, note, print_json
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.inference.infer import infer
from uad_orchestrator.inference.results import InferenceResult
from uad_orchestrator.inference.watch import images_below
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.postprocess.map_set import write_map
from uad_orchestrator.spelling import how_many
from uad_orchestrator.storage.file_names import printable

if TYPE_CHECKING:
    from uad_orchestrator.inference.line_output import LineOutput

ANOMALOUS = 3
"""Exit status: an image is anomalous, and rejected."""
TO_REVIEW = 4
"""Exit status: none is anomalous, and one is for a person to look at."""

Style = Literal["text", "json", "csv"]
TEXT: Style = "text"
JSON: Style = "json"
CSV: Style = "csv"

COLUMNS = (
    *("image", "score", "label", "threshold", "regions", "largest_area", "peak", "seconds", "error"),
    "warnings",
    "decision",
)
WORDS = {"pass": "normal", "review": "review", "reject": "anomalous", None: "undecided"}


@dataclass(frozen=True)
class Outputs:
    """Where results go.

    Attributes:
        style: of standard output.
        maps, overlays: folders; None: not written.
    """

    style: Style
    maps: Path | None = None
    overlays: Path | None = None


@dataclass
class Inspection:
    """Images through one detector.

    Attributes:
        bundle: what the detector was made of.
        detector: the detector.
        outputs: where results go.
        reading: how files are read; None: as those that the bundle was fitted on.
        line: what records results and sends them out; None: nothing does.
        images, anomalous, to_review, undecided, unreadable, with_warnings: counts so far.
    """

    bundle: Bundle
    detector: Detector
    outputs: Outputs
    reading: ReadingSettings | None = None
    line: LineOutput | None = None
    images: int = 0
    anomalous: int = 0
    to_review: int = 0
    undecided: int = 0
    unreadable: int = 0
    with_warnings: int = 0
    _kept: list[dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def status(self) -> int:
        """The exit status: 1 where something could not be read or decided, 3 where something is anomalous, 4 where
        something is to be reviewed and nothing is anomalous.
        """
        if self.unreadable or self.undecided:
            return FAILED
        return ANOMALOUS if self.anomalous else TO_REVIEW if self.to_review else 0

    def run(self, paths: Sequence[Path], *, keep_going: bool) -> None:
        """Inspect files and the images of folders.

        Raises:
            ImageError: a file cannot be read, and ``keep_going`` is not asked for.
            ValueError: nothing to inspect, or two outputs would have one name.
        """
        names = output_names(paths, apart=bool(self.outputs.maps or self.outputs.overlays))
        self._kept = [] if self.outputs.style == JSON else None
        if self._kept is None:
            self.begin_stream()
        self.stream(list(names), names, None, keep_going=keep_going)
        if self._kept is not None:
            print_json({**self._head(), "results": self._kept, **self._counts()})
        elif self.outputs.style == TEXT:
            note(", ".join(f"{count} {what}" for what, count in self._counts().items()))
        if self.undecided:
            review = self.bundle.calibration.review_point
            no_threshold = self.detector.image_point_.reason
            said = f"there is no threshold: {no_threshold}" if no_threshold else "there is no grey zone: "
            note(f"Error: {said}{review.reason if review and not no_threshold else ''}")

    def begin_stream(self) -> None:
        """The head of what is printed line by line."""
        if self.outputs.style == CSV:
            self._write_csv(COLUMNS)

    def stream(
        self,
        images: Iterable[Path] | Iterable[ImageSource],
        names: dict[Path, str],
        below: Path | None,
        *,
        keep_going: bool = True,
        batch_size: int | None = None,
    ) -> None:
        """Inspect images one after the other, and put out each result at once.

        Args:
            names: what an image's outputs are called; one that is not among them by its place below ``below``.
        """
        results = infer(
            self.detector,
            images,
            include_images=self.outputs.overlays is not None,
            include_files=self.line is not None,
            batch_size=batch_size,
            on_unreadable=self._note_unreadable if keep_going else None,
            reading=self.reading or self.bundle.reading,
            review_point=self.bundle.calibration.review_point,
        )
        for result in results:
            if self.line is not None:
                self.line.take(result)
            self.images += 1
            self.anomalous += result.label == 1
            self.to_review += result.decision == "review"
            self.undecided += result.decision is None
            self.with_warnings += bool(result.remarks)
            for remark in result.remarks:
                note(f"Warning: {printable(result.name)}: {remark.text}")
            path = Path(result.name)
            self._write_files(result, names.get(path) or path.relative_to(below or "").as_posix())
            self._put(self._row(result))

    def _write_files(self, result: InferenceResult, name: str) -> None:
        if self.outputs.maps is not None and result.anomaly_map is not None:
            write_map(self.outputs.maps / f"{name}.tiff", result.anomaly_map)
        if self.outputs.overlays is not None and result.anomaly_map is not None:
            from uad_orchestrator.reporting.pictures.defect_picture import defect_picture, write_picture

            write_picture(self.outputs.overlays / f"{name}.jpg", defect_picture(result, self._scale))

    @cached_property
    def _scale(self) -> Any:
        from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale

        return HeatmapScale.from_summary(
            self.bundle.calibration.normal_maps, self.detector.pixel_point_.threshold
        )

    def _note_unreadable(self, source: ImageSource, error: ImageError) -> None:
        self.unreadable += 1
        note(f"Error: {error}")
        self._put({"image": printable(source.name), "error": str(error)})

    def _row(self, result: InferenceResult) -> dict[str, Any]:
        row = result.to_json()
        first = {name: row.pop(name) for name in ("image", "label", "decision")}
        return {**first, "threshold": self._threshold, **row}

    @property
    def _threshold(self) -> float | None:
        return _threshold(self.detector.image_point_)

    def _put(self, row: dict[str, Any]) -> None:
        if self._kept is not None:
            self._kept.append(row)
        elif self.outputs.style == JSON:
            sys.stdout.write(json.dumps(row, allow_nan=False) + "\n")
            sys.stdout.flush()
        elif self.outputs.style == CSV:
            self._write_csv(_cells(row))
        elif "error" not in row:
            label = WORDS[row["decision"]] if row["label"] is not None else "no threshold"
            regions = "" if row["regions"] is None else f"  {how_many(len(row['regions']), 'region')}"
            typer.echo(f"{label:12}  {row['score']:<10.6g}  {row['image']}{regions}")

    def _write_csv(self, cells: Sequence[Any]) -> None:
        csv.writer(sys.stdout, lineterminator="\n").writerow(cells)
        sys.stdout.flush()

    def _head(self) -> dict[str, Any]:
        review = self.bundle.calibration.review_point
        of_review = {} if review is None else {"review": review.to_json()}
        return {
            "model": self.bundle.name,
            "threshold": self._threshold,
            "pixel_threshold": _threshold(self.detector.pixel_point_),
            "thresholds": {
                "image": self.detector.image_point_.to_json(),
                "pixel": self.detector.pixel_point_.to_json(),
                **of_review,
            },
        }

    def _counts(self) -> dict[str, int]:
        counts = {"images": self.images, "anomalous": self.anomalous, "unreadable": self.unreadable}
        reviewed = {"to_review": self.to_review} if self.bundle.calibration.review_point else {}
        return counts | {"with_warnings": self.with_warnings} | reviewed


def output_names(paths: Sequence[Path], *, apart: bool = True) -> dict[Path, str]:
    """Files, and the images of folders, each with the name of its outputs: its place below the folder that was
    named, or its file name.

    Args:
        paths: files and folders.
        apart: whether files are written under these names, so that no two may share one.

    Raises:
        ValueError: a folder without images, or two files that would write the same output.
    """
    names: dict[Path, str] = {}
    for path in paths:
        found = list(images_below(path)) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{path}: there are no images in this folder")
        base = path if path.is_dir() else path.parent
        names |= {image: image.relative_to(base).as_posix() for image in found}
    owners: dict[str, Path] = {}
    for image, name in names.items():
        if apart and owners.setdefault(name, image) != image:
            raise ValueError(
                f"{owners[name]} and {image} would share their outputs: name a folder above both"
            )
    return names


def _threshold(point: OperatingPoint) -> float | None:
    return None if point.reason else point.threshold


def _cells(row: dict[str, Any]) -> list[Any]:
    regions = row.get("regions") or []
    values = row | {
        "regions": None if row.get("regions") is None else len(regions),
        "largest_area": max((region["area"] for region in regions), default=None),
        "peak": regions[0]["peak"] if regions else None,
        "seconds": row["seconds"]["total"] if "seconds" in row else None,
        "warnings": "; ".join(row.get("warnings", [])) or None,
    }
    return [values.get(name) for name in COLUMNS]
