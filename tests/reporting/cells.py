"""Reports as ``metrics`` makes them, from seeded scores: what the tests of ``reporting`` look at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from uad_orchestrator.metrics.catalogue import NEWCOMBE
from uad_orchestrator.metrics.cell.intervals import rate_intervals
from uad_orchestrator.metrics.image_metrics import ThresholdMetrics, image_metrics, threshold_metrics
from uad_orchestrator.metrics.intervals import interval_of_auroc
from uad_orchestrator.metrics.report import (
    BankReport,
    Counts,
    DefectReport,
    IntervalReport,
    MetricsReport,
    OperatingPointReport,
    ReviewReport,
    Runtime,
    Timings,
)
from uad_orchestrator.metrics.thresholds import calibrate

DEFECTS = ("crack", "hole", "print")
LIMITS = ("aupro_0.3", "aupro_0.05")


def score_rows(
    seed: int = 0, strength: float = 3.0, normals: int = 12, per_defect: int = 5
) -> list[SimpleNamespace]:
    """A score table: calibration normals, test normals, and defects whose scores lie ``strength`` higher."""
    rng = np.random.default_rng(seed)
    rows = [
        SimpleNamespace(
            image=f"bottle/train/good/{i:03}.png", role="calibration", label=0, defect_type="good", score=s
        )
        for i, s in enumerate(rng.normal(5, 1, 20))
    ]
    for kind in ("good", *DEFECTS):
        count, shift = (normals, 0.0) if kind == "good" else (per_defect, strength)
        rows += [
            SimpleNamespace(
                image=f"bottle/test/{kind}/{i:03}.png",
                role="test",
                label=int(kind != "good"),
                defect_type=kind,
                score=s,
            )
            for i, s in enumerate(rng.normal(5 + shift, 1, count))
        ]
    return rows


def report(
    category: str = "bottle",
    detector: str = "patchcore",
    *,
    dataset: str = "mvtec_ad",
    seed: int = 0,
    strength: float = 3.0,
    pixels: bool = True,
    limits: tuple[str, ...] = LIMITS,
) -> MetricsReport:
    """The report of a cell; without masks (``pixels=False``) its pixel metrics are null with their reason."""
    rows = score_rows(seed, strength)
    calibration = [row.score for row in rows if row.role == "calibration"]
    tested = [row for row in rows if row.role == "test"]
    scores, labels = [row.score for row in tested], [row.label for row in tested]
    image = image_metrics(scores, labels)
    point = calibrate(calibration, 0.1, "leave_one_image_out")
    at = threshold_metrics(scores, labels, point.threshold)
    bounds = interval_of_auroc(image.auroc, 12, 15)
    interval = IntervalReport(
        low=bounds.low, high=bounds.high, level=0.95, method=NEWCOMBE, n_normal=12, n_anomalous=15
    )
    pixel_names = ("pixel_auroc", "pixel_ap", "pixel_f1_max", *limits)
    pixel_values = {name: round(0.99 - 0.02 * i - 0.01 * seed, 6) for i, name in enumerate(pixel_names)}
    no_masks = dict.fromkeys(pixel_names, "no ground-truth masks")
    names = ("precision", "recall", "f1", "iou", "false_positive_rate")
    pixel_reasons = dict.fromkeys(names, "no ground-truth masks")
    return MetricsReport(
        dataset=dataset,
        category=category,
        detector=detector,
        model="vision_patchcore",
        counts=Counts(n_train=20, n_validation=0, n_calibration=20, n_test_normal=12, n_test_anomalous=15),
        metrics={
            "image_auroc": image.auroc,
            "image_ap": image.ap,
            "image_f1_max": image.f1_max,
            **(pixel_values if pixels else dict.fromkeys(pixel_names)),
        },
        reasons={} if pixels else no_masks,
        intervals={"image_auroc": interval},
        without_mask=[],
        per_defect=[_defect(kind, tested, point.threshold) for kind in DEFECTS],
        unlabelled=[],
        segmentation=None,
        review=None,
        roi=None,
        image_operating_point=OperatingPointReport(
            threshold=point.threshold,
            source=point.source,
            n=point.n,
            contamination=point.contamination,
            intervals=rate_intervals(at),
            **{name: getattr(at, name) for name in names},
        ),
        pixel_operating_point=OperatingPointReport(
            threshold=7.5,
            source=point.source,
            n=point.n,
            contamination=point.contamination,
            **dict.fromkeys(names),
            reasons=pixel_reasons,
        ),
        timings=Timings(
            fit_seconds=1.5,
            score_seconds=0.9,
            maps_seconds=0.4,
            metrics_seconds=0.2,
            seconds_per_image_p50=0.0123 + seed / 100,
            seconds_per_image_p95=0.0251 + seed / 100,
        ),
        bank=BankReport(
            rows=1638, dimension=384, bytes=2_515_968, coverage_max=1.2, coverage_p99=0.9, coverage_mean=0.3
        ),
        seeds={"coreset": 0, "calibration": 0},
        versions={"memory_bank": "ab" * 32, "score_table": "cd" * 32, "metrics_report": "ef" * 32},
        packages={"numpy": np.__version__},
        runtime=Runtime(device="cpu", batch_size=8, workers=1, host="line7"),
    )


def review(normals: int = 3, defects: int = 2) -> ReviewReport:
    """A grey zone with so many of the 12 normal and 15 defective test images in it."""
    intervals = rate_intervals(
        ThresholdMetrics(6.0, tp=defects, fp=normals, tn=12 - normals, fn=15 - defects)
    )
    return ReviewReport(
        from_fpr=0.3,
        threshold=5.8,
        source="leave_one_image_out",
        n=20,
        share_in_review=normals / 12,
        defects_in_review=defects / 15,
        intervals={
            "share_in_review": intervals["false_positive_rate"],
            "defects_in_review": intervals["recall"],
        },
    )


def _defect(kind: str, tested: list[SimpleNamespace], threshold: float) -> DefectReport:
    rows = [row for row in tested if row.defect_type in ("good", kind)]
    scores, labels = [row.score for row in rows], [row.label for row in rows]
    image = image_metrics(scores, labels)
    undefined = ("pixel_auroc", "pixel_ap", *LIMITS)
    return DefectReport(
        defect_type=kind,
        n=sum(labels),
        metrics={
            "image_auroc": image.auroc,
            "image_ap": image.ap,
            "recall": threshold_metrics(scores, labels, threshold).recall,
            **dict.fromkeys(undefined),
        },
        reasons=dict.fromkeys(undefined, "no ground-truth masks"),
    )
