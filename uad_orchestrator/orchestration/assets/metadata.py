"""What the computed assets show in Dagster's UI, read from their artifacts: the same for a new and a reused one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from uad_orchestrator.detectors.anomalib.settings import TRAINING_LOG
from uad_orchestrator.metrics.catalogue import headlines
from uad_orchestrator.metrics.report import IntervalReport, MetricsReport, OperatingPointReport
from uad_orchestrator.metrics.report.figures import finite_or_none
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint
from uad_orchestrator.orchestration.cells.artifact_files import (
    CONTACT_SHEET,
    MAPS,
    METRICS_FILE,
    OPERATING_POINT,
    read_contact_sheet,
    read_operating_point,
)
from uad_orchestrator.orchestration.cells.cell_run import EMBEDDING_COUNTS
from uad_orchestrator.storage.provenance import Provenance

SCORE_COLUMNS = {
    "image": ("string", "path relative to the dataset's root"),
    "role": ("string", "test, a split without labels, or calibration: a normal that sets the threshold"),
    "label": ("int8", "0 normal, 1 anomalous, -1 not published"),
    "defect_type": ("string", "good for normals"),
    "score": ("float64", "image score; higher is more anomalous"),
    "grid_shape": ("list<int32>[2]", "patches per column and row"),
    "region": ("list<float64>[4]", "part of the image the grid covers: top, left, bottom, right in pixels"),
    "original_size": ("list<int32>[2]", "height and width in pixels"),
    "input_size": ("list<int32>[2]", "height and width of the region at the model's input"),
    "seconds": ("float64", "time from file to score"),
}


def definition_metadata(asset: str) -> dict[str, Any]:
    """What is known of an asset before it was ever materialised."""
    if asset != "score_table":
        return {}
    columns = [dg.TableColumn(name, kind, text) for name, (kind, text) in SCORE_COLUMNS.items()]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


def shown_files(asset: str) -> tuple[str, ...]:
    """The files that ``describe_stage`` reads: what has to be fetched of an artifact that is reused."""
    return {
        "memory_bank": (TRAINING_LOG,),
        "score_table": (OPERATING_POINT,),
        "anomaly_maps": (OPERATING_POINT,),
        "metrics_report": (METRICS_FILE, CONTACT_SHEET),
    }[asset]


def describe_stage(asset: str, directory: Path, provenance: Provenance) -> dict[str, Any]:
    """Metadata of a computed asset: its numbers as floats, which plot over time, and what fits its kind."""
    describe = {
        "memory_bank": _describe_bank,
        "score_table": _describe_scores,
        "anomaly_maps": _describe_maps,
        "metrics_report": _describe_report,
    }[asset]
    numbers = {name: value for name, value in provenance.metrics.items() if value is not None}
    return numbers | describe(directory, provenance.facts)


def _describe_bank(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    log = directory / TRAINING_LOG
    logged = {"training_log": dg.MetadataValue.path(str(log))} if log.is_file() else {}
    return {"dagster/row_count": int(facts.get("bank_rows", 0))} | logged | _plain(facts)


def _describe_scores(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    rows = int(facts["n_test"]) + int(facts["n_calibration"])
    source = {"threshold_source": facts["threshold_source"]}
    return {"dagster/row_count": rows} | source | _promise(read_operating_point(directory)) | _plain(facts)


def _describe_maps(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    promise = _promise(read_operating_point(directory), "pixel_")
    folder = dg.MetadataValue.path(str(directory / MAPS))
    return {"maps": int(facts["maps"]), "folder": folder} | promise | _plain(facts)


def _describe_report(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    from uad_orchestrator.reporting.pictures.contact_sheet import data_uri

    report = MetricsReport.from_json((directory / METRICS_FILE).read_bytes())
    defects = [
        dg.TableRecord(
            {"defect_type": d.defect_type, "images": d.n, **{k: _round(v) for k, v in d.metrics.items()}}
        )
        for d in report.per_defect
    ]
    sheet = read_contact_sheet(directory)
    image, pixel = report.image_operating_point, report.pixel_operating_point
    at_threshold = {metric.name: report.value(metric.name) for metric in headlines("operating point")}
    costs = {metric.name: report.value(metric.name) for metric in headlines("cost")}
    intervals = report.intervals | image.intervals | (report.review.intervals if report.review else {})
    metadata: dict[str, Any] = {
        **_defined({"threshold": image.threshold} | at_threshold),
        "threshold_source": image.source,
        **_promise(image),
        **_defined({"pixel_threshold": pixel.threshold} | costs),
        "pixel_threshold_source": pixel.source,
        **_promise(pixel, "pixel_"),
        **_review(report),
        **report.counts.model_dump(exclude_none=True),
        **{f"{name}_interval": _interval(found) for name, found in intervals.items()},
        "metrics_json": dg.MetadataValue.path(str(directory / METRICS_FILE)),
    }
    if sheet:
        metadata["contact_sheet"] = dg.MetadataValue.md(f"![best and worst cases]({data_uri(sheet)})")
    if report.unlabelled:
        metadata["unlabelled"] = ", ".join(f"{s.split}: {s.n} images, {s.reason}" for s in report.unlabelled)
    if defects:
        metadata["per_defect"] = dg.MetadataValue.table(defects)
    if report.roi is not None:
        metadata["roi"] = dg.MetadataValue.json(report.roi.model_dump())
    if report.reasons:
        metadata["undefined"] = dg.MetadataValue.json(report.reasons)
    return metadata


def _review(report: MetricsReport) -> dict[str, Any]:
    """The grey zone, where there is one."""
    if report.review is None:
        return {}
    shares = _defined({"review_threshold": report.review.threshold} | report.review.shares())
    return shares | {"review_source": report.review.source}


def _promise(point: OperatingPoint | OperatingPointReport, prefix: str = "") -> dict[str, float]:
    """What a threshold promises of new normals; nothing where nothing is guaranteed."""
    return _defined({f"{prefix}{name}": finite_or_none(rate) for name, rate in point.promise.items()})


def _interval(of: IntervalReport) -> str:
    """With the number of images that it is so wide for."""
    counts = {"normal": of.n_normal, "anomalous": of.n_anomalous}
    images = " + ".join(f"{count:.3g} {kind}" for kind, count in counts.items() if count)
    return f"{of.low:.3f} to {of.high:.3f} ({of.level:.0%}, {images})"


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are single values; nested ones as JSON; what was embedded for it is said where it was."""
    shown = {k: v for k, v in facts.items() if isinstance(v, str | int | float | bool)}
    nested = {k: dg.MetadataValue.json(v) for k, v in facts.items() if isinstance(v, dict)}
    return {k: v for k, v in (shown | nested).items() if k not in EMBEDDING_COUNTS}


def _defined(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


def _round(value: float | None) -> float | str:
    return "undefined" if value is None else round(value, 4)
