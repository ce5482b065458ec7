"""The model card of a bundle: what it is, how good, on what data, and where every number comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uad_orchestrator.inference.bundle import Bundle
from uad_orchestrator.metrics.catalogue import find
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.metrics.thresholds.operating_point import OperatingPoint


def model_card(bundle: Bundle, report: MetricsReport, warnings: Sequence[str] = ()) -> str:
    """Markdown; ``bundle.name`` is the title.

    Args:
        bundle: what the card is about.
        report: of the cell that it comes from.
        warnings: what speaks against the cell's figures.
    """
    return "\n".join(_lines(bundle, report, warnings)) + "\n"


def _lines(bundle: Bundle, report: MetricsReport, warnings: Sequence[str]) -> Iterator[str]:
    counts, calibration = report.counts, bundle.calibration
    yield from (f"# {bundle.name}", "")
    embedder = "" if bundle.embedder is None else f" with embedder `{bundle.embedder.name}`"
    yield f"An anomaly detector, `{bundle.model}`{embedder}, for images of"
    yield f"{report.dataset}/{report.category}. Image and map values above the thresholds are anomalous; what it"
    yield "was not shown as normal is anomalous to it, whether it is a defect or another camera."
    yield from ("", "```", "uad infer --bundle <this folder> IMAGES", "```", "")
    yield from ("## Data", "")
    yield f"- fitted on {counts.n_train} normal images (digests in `state/state.json`)"
    yield f"- thresholds from {counts.n_calibration} normal images it does not hold"
    masked = f", of which {counts.n_test_masked} have a mask" if report.without_mask else ""
    yield f"- measured on {counts.n_test_normal} normal and {counts.n_test_anomalous} anomalous test images{masked}"
    yield from ("", "## Thresholds", "")
    yield "| of | threshold | from | n | false-positive rate asked for | guaranteed | at most, with 95 % confidence |"
    yield "|---|---|---|---|---|---|---|"
    yield _point("image score", calibration.image_point)
    yield _point("map pixel", calibration.pixel_point)
    if calibration.review_point is not None:
        yield _point("begin of review", calibration.review_point)
    yield from _of_people(bundle, report)
    if warnings:
        yield from ("", "## Warnings of the benchmark", "", *(f"- {warning}" for warning in warnings))
    yield from ("", "## Metrics on the test images", "")
    yield from ("| metric | value | 95 % interval |", "|---|---|---|")
    for name, value in report.metrics.items():
        yield f"| {name} | {_figure(value, report.reasons.get(name))} | {_interval(report, name)} |"
    at = report.image_operating_point
    for name, value in at.figures().items():
        if (metric := find(name)) and metric.on_board:
            figure = _figure(value, at.reasons.get(name))
            if name == "false_positive_rate" and at.false_positive_rate_from:
                figure += f", of {at.false_positive_rate_from}"
            yield f"| {name} at the benchmark's image threshold | {figure} | {_interval(report, name)} |"
    yield from ("", "## Lineage", "", "Recipes as in the benchmark (`provenance/` has the whole record).", "")
    yield from ("| what | version |", "|---|---|")
    yield from (f"| {name} | `{version}` |" for name, version in report.versions.items())
    yield from ("", "Made with " + ", ".join(f"{name} {v}" for name, v in report.packages.items()) + ".")


def _of_people(bundle: Bundle, report: MetricsReport) -> Iterator[str]:
    """What was not taken from normals alone, and what people have to do with a result."""
    known = bundle.calibration
    points = {"image": known.image_point, "pixel": known.pixel_point}
    pins = {name: point.pinned for name, point in points.items() if point.pinned is not None}
    for name, pin in pins.items():
        yield from ("", f"The {name} threshold was {pin}.")
    if any(pin.on_test_labels for pin in pins.values()):
        yield "What was chosen on test labels is flattered by the figures below, which are of the same images."
    if known.review_point is not None:
        yield from (
            "",
            "A person looks at what scores above the begin of review and not above the image threshold.",
        )
        shares = {} if report.review is None else report.review.shares()
        kinds = zip(("good", "defective"), shares.values(), strict=False)
        found = [f"{share:.1%} of the {kind} ones" for kind, share in kinds if share is not None]
        yield f"Of the test images that is {' and '.join(found) or 'not known'}."


def _point(what: str, point: OperatingPoint) -> str:
    threshold = "none" if point.reason else f"{point.threshold:.6g}"
    known = " | ".join("nothing" if point.unguaranteed else f"{rate:.3g}" for rate in point.promise.values())
    source = point.source.replace("|", "\\|")
    asked = "" if point.is_pinned_value else f"{point.contamination:g}"
    return f"| {what} | {threshold} | {source} | {point.n} | {asked} | {known} |"


def _interval(report: MetricsReport, name: str) -> str:
    """On other test images of the same kind."""
    found = report.interval(name)
    return "" if found is None else f"{found.low:.4f} to {found.high:.4f}"


def _figure(value: float | None, reason: str | None) -> str:
    return f"{value:.4f}" if value is not None else f"none{f': {reason}' if reason else ''}"
