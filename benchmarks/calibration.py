"""Whether thresholds from fitted normals are those of unseen normals: by control, by false alarms, and at what cost.

The control: half of the normals are fitted and the other half is scored as unseen; then the halves change places. The
scores of the fitted half, each image left out, over the unseen ones should be 1, in the median and in the 90 %
quantile, which is where thresholds lie. Such ratios are averaged as logarithms: where one half is harder than the
other, the swap has the inverse ratio, and the two give 1. The plain mean, which is larger the more halves differ, is
told beside it. Real images are taken where they are at hand, and else made-up ones.
``python -m benchmarks calibration`` runs it all, in short; one measure at length, on images of your own, too:

    python -m benchmarks.calibration control --root FOLDER --category NAME --weights FILE --splits 20
    python -m benchmarks.calibration false_alarms --seeds 15
    python -m benchmarks.calibration cost --root FOLDER --category NAME --weights FILE
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fresh_process import REAL, measured
from benchmarks.rows import BenchmarkRow

if TYPE_CHECKING:
    from uad_orchestrator.detectors.protocol.detector import Detector
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.images.source import ImageSource

MODELS: dict[str, dict[str, Any]] = {
    "vision_patchcore": {},
    "vision_softpatch": {},
    "vision_superadd": {"tiles": {"tile_size": 256}},
    "vision_anomalydino": {},
}
METHODS = {"vision_superadd": "density"}
RATIOS = (0.01, 0.05, 0.1, 0.25)
MADE_UP = 60
"""Normals of the made-up control, half of which are fitted."""
FITTED, FRESH = 30, 200
"""Normals per cell of the demo, and fresh ones that are judged by its threshold."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads that wait for each other count as work."""
OFF_MEDIAN, OFF_QUANTILE, OFF_RATE, OF_FIT = 0.03, 0.05, 0.015, 0.5


def run() -> list[BenchmarkRow]:
    cases = [("made up", "gear", "filter_bank", "")]
    if REAL.exists():
        weights = str(REAL / "weights" / "resnet18_stem_to_layer3.pth")
        folder = str(REAL / "data" / "mvtec_ad_reduced")
        cases = [(folder, name, "resnet18", weights) for name in ("hazelnut", "transistor")]
    rows = []
    for root, category, embedder, weights in cases:
        place = ["--root", root] if root != "made up" else []
        given = [*place, "--category", category, "--embedder", embedder, "--weights", weights]
        for model in MODELS:
            some = [] if model == "vision_patchcore" else ["--ratios", "0.01"]
            found = measured("calibration", "control", *given, "--model", model, "--splits", "5", *some)
            rows += _control_rows(category, model, found)
        rows += _cost_rows(category, measured("calibration", "cost", *given, **ONE_THREAD))
    rows += _cost_rows("connector", measured("calibration", "cost", "--category", "connector", **ONE_THREAD))
    return rows + _false_alarm_rows(measured("calibration", "false_alarms", "--seeds", "2"))


def _control_rows(category: str, model: str, found: dict[str, Any]) -> list[BenchmarkRow]:
    rows = []
    for ratio, figures in found.items():
        for name, bar in (("median", OFF_MEDIAN), ("q90", OFF_QUANTILE)):
            mean, error, plain = figures[name]
            details = {
                "mean": mean, "standard error": error, "plain mean": plain, "splits and swaps": figures["n"]
            }  # fmt: skip
            case = f"{category}, {model}, coreset {ratio}"
            measure = f"{name}, left out over unseen, off 1"
            rows.append(BenchmarkRow("calibration", case, measure, abs(mean - 1), "", bar, "lower", details))
    return rows


def _cost_rows(category: str, found: dict[str, Any]) -> list[BenchmarkRow]:
    return [
        BenchmarkRow(
            "calibration",
            f"{category}, coreset {ratio}",
            "calibration, of the fit's time",
            figures["calibration, s"] / figures["fit, s"],
            "x",
            OF_FIT,
            "lower",
            figures,
        )
        for ratio, figures in found.items()
    ]


def _false_alarm_rows(found: dict[str, float]) -> list[BenchmarkRow]:
    off = abs(found["rate"] - found["promised"])
    return [
        BenchmarkRow(
            "calibration",
            "all demo cells",
            "false-positive rate off the rank's",
            off,
            "",
            OFF_RATE,
            "lower",
            found,
        )
    ]


def control(arguments: argparse.Namespace) -> dict[str, Any]:
    """Per coreset ratio the mean ratios of left-out to unseen scores, with their standard errors and plain means."""
    with tempfile.TemporaryDirectory() as folder:
        images, embedder = _images(arguments, Path(folder), MADE_UP)
        cache = _cache(Path(folder))
        found = {}
        for ratio in arguments.ratios:
            detector = _detector(arguments.model, ratio, embedder, cache)
            rng, ratios = np.random.default_rng(0), []
            for _ in range(arguments.splits):
                order, half = rng.permutation(len(images)), len(images) // 2
                ours, theirs = ([images[i] for i in some] for some in (order[:half], order[half : 2 * half]))
                ratios += [
                    _left_out_over_unseen(detector, *pair) for pair in ((ours, theirs), (theirs, ours))
                ]
            plain = np.mean(ratios, axis=0)
            # a split and its swap share their images: of each pair the mean
            pairs = np.exp(np.log(ratios).reshape(-1, 2, 2).mean(axis=1))
            means = np.exp(np.log(pairs).mean(axis=0))
            errors = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
            figures = [list(of) for of in np.transpose([means, errors, plain]).tolist()]
            found[f"{ratio:.0%}"] = {"median": figures[0], "q90": figures[1], "n": len(ratios)}
    return found


def _left_out_over_unseen(
    detector: Detector, fitted: list[ImageSource], unseen: list[ImageSource]
) -> tuple[float, float]:
    state = detector.fit_state(fitted)
    images, _, leave_out = detector.calibration_images(state, fitted)
    left_out = [each.score for each in detector.calibration_responses(state, fitted, images, leave_out)]
    others = [each.score for each in detector.respond(state, unseen)]
    quantiles = np.quantile(left_out, [0.5, 0.9]) / np.quantile(others, [0.5, 0.9])
    return float(quantiles[0]), float(quantiles[1])


def false_alarms(arguments: argparse.Namespace) -> dict[str, float]:
    """The mean rate of fresh demo normals above the thresholds of all cells, and what the ranks promise."""
    from uad_orchestrator.project import demo_project

    rates, promised, of_images = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            cache = _cache(Path(folder, str(seed)))
            entries = demo_project(Path(folder)).detectors.values()
            for train, fresh in _demo_normals(seed):
                for entry in entries:
                    rate, rank_rate = _false_alarm_rate(entry, train, fresh, cache)
                    rates.append(rate)
                    promised.append(rank_rate)
                of_images.append(np.mean(rates[-len(entries) :]))  # cells of the same images err alike
    error = np.std(of_images, ddof=1) / np.sqrt(len(of_images))
    return {
        "rate": float(np.mean(rates)), "promised": float(np.mean(promised)),
        "standard error": float(error), "cells": len(rates),
    }  # fmt: skip


def _false_alarm_rate(
    entry: Any, train: list[ImageSource], fresh: list[ImageSource], cache: Any
) -> tuple[float, float]:
    from uad_orchestrator.detectors.create import build_detector
    from uad_orchestrator.detectors.embedding.open_stream import open_stream
    from uad_orchestrator.detectors.protocol.spec import StageSettings
    from uad_orchestrator.metrics.thresholds.conformal import conformal_rank
    from uad_orchestrator.preprocessing.presets import resolve_preset

    stream = open_stream(entry.embedder, preset=resolve_preset(entry.preset), cache=cache)
    scoring = entry.scoring.model_copy(update={"contamination": 0.1})
    detector = build_detector(entry.model, StageSettings(entry.fit, scoring, entry.maps), stream)
    state = detector.fit_state(train)
    images, _, leave_out = detector.calibration_images(state, train)
    scores = sorted(each.score for each in detector.calibration_responses(state, train, images, leave_out))
    n, rank = len(scores), min(conformal_rank(len(scores), 0.1), len(scores))
    above = [each.score > scores[rank - 1] for each in detector.respond(state, fresh)]
    return float(np.mean(above)), (n + 1 - rank) / (n + 1)


def cost(arguments: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of a fit, embedding included, and of its calibration, per coreset ratio; the best of three.

    With them what embedding alone takes, and plain leaving out, of which every calibration consists in part.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        images, embedder = _images(arguments, Path(folder), FITTED)
        for image in images:
            image.read()  # into the system's cache
        embedding = min(_embedding_seconds(arguments.model, embedder, images) for _ in range(3))
        for ratio in arguments.ratios:
            seconds = [_seconds(arguments.model, ratio, embedder, images) for _ in range(3)]
            fit, calibration, plain = np.min(seconds, axis=0)
            found[f"{ratio:.0%}"] = {
                "fit, s": float(fit), "calibration, s": float(calibration), "plain, s": float(plain),
                "embedding, s": embedding,
            }  # fmt: skip
    return found


def _embedding_seconds(model: str, embedder: EmbedderSettings, images: list[ImageSource]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        stream = _detector(model, RATIOS[0], embedder, _cache(Path(folder))).stream
        stream.embedder.embed(images[0].read())  # loads the network
        started = time.process_time()
        for _ in stream.stream(images):
            pass
        return time.process_time() - started


def _seconds(
    model: str, ratio: float, embedder: EmbedderSettings, images: list[ImageSource]
) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        detector = _detector(model, ratio, embedder, _cache(Path(folder)))
        detector.stream.embedder.embed(images[0].read())  # loads the network
        started = time.process_time()
        state = detector.fit_state(images)
        fitted = time.process_time()
        chosen, _, leave_out = detector.calibration_images(state, images)
        list(detector.calibration_responses(state, images, chosen, leave_out))
        calibrated = time.process_time()
        list(detector.respond(state, chosen, leave_out))
        return fitted - started, calibrated - fitted, time.process_time() - calibrated


def _detector(model: str, ratio: float, embedder: EmbedderSettings, cache: Any) -> Detector:
    from uad_orchestrator.detectors import create_detector

    coreset = {"method": METHODS.get(model, "batched_greedy"), "ratio": ratio}
    return create_detector(
        model, embedder=embedder, cache=cache, device="cpu", coreset=coreset, **MODELS.get(model, {})
    )


def _cache(folder: Path) -> Any:
    from uad_orchestrator.storage.embedding_cache import EmbeddingCache, HeldEmbeddings

    return HeldEmbeddings(EmbeddingCache(folder / "embeddings"), 2 << 30)


def _images(
    arguments: argparse.Namespace, folder: Path, made_up: int
) -> tuple[list[ImageSource], EmbedderSettings]:
    from uad_orchestrator.datasets.demo_generator import write_normals
    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.images.source import ImageSource

    if arguments.root:
        manifest = load_dataset("real", arguments.root, arguments.category, layout="mvtec_ad")
        network = EmbedderSettings(
            name=arguments.embedder, weights=arguments.weights, image_size=256, dimension=384
        )
        return list(manifest.sources(manifest.train)), network
    paths = write_normals(folder / "images", arguments.category, made_up)
    sources = [ImageSource.from_path(path, name=path.name) for path in paths]
    return sources, EmbedderSettings(name="filter_bank")


def _demo_normals(seed: int) -> Iterator[tuple[list[ImageSource], list[ImageSource]]]:
    """Per category of the demo the normals that are fitted, and fresh ones."""
    from uad_orchestrator.datasets.demo_generator import DEMO_CATEGORIES, generate_normals
    from uad_orchestrator.images.source import ImageSource

    for category in DEMO_CATEGORIES:
        made = generate_normals(category, FITTED + FRESH, seed=seed)
        normals = [ImageSource.from_array(image, name=f"{i:03d}.png") for i, image in enumerate(made)]
        yield normals[:FITTED], normals[FITTED:]


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--root", help="a folder in MVTec AD's layout; default: made-up images")
    parser.add_argument("--category", default="gear")
    parser.add_argument("--embedder", default="filter_bank")
    parser.add_argument("--weights", default="")
    parser.add_argument("--model", default="vision_patchcore")
    parser.add_argument("--ratios", type=float, nargs="+", default=list(RATIOS))
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--first-seed", type=int, default=0)
    return parser.parse_args(given)


MEASURES = {"control": control, "false_alarms": false_alarms, "cost": cost}


if __name__ == "__main__":
    chosen = _arguments()
    print(json.dumps(MEASURES[chosen.what](chosen)))
