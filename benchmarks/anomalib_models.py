"""A model of anomalib trained and scoring as a detector of this project, against anomalib's own Engine.

PaDiM, resnet18 with random weights at 256 px, a category of the demo. Ours keeps a fifth of the normals from the
training and scores them for validation, so that both see each normal once; the peer predicts the same images.
Within ours is what makes a checkpoint an artifact, its digest; reading it again, in another process in a cell, is not.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fresh_process import measured
from benchmarks.rows import BenchmarkRow

CATEGORY, SIDE, BATCH = "connector", 256, 8
BARS = {"fit": 1.5, "score": 1.3}


def run() -> list[BenchmarkRow]:
    import anomalib  # noqa: F401  the peer

    ours, peer = (measured("anomalib_models", who) for who in ("ours", "anomalib"))
    return [
        BenchmarkRow(
            "anomalib_models",
            f"padim, {CATEGORY}, {SIDE} px",
            f"{stage}, of anomalib's own time",
            ours[stage] / peer[stage],
            "x",
            bar,
            "lower",
            {"ours, s": ours[stage], "anomalib, s": peer[stage]},
        )
        for stage, bar in BARS.items()
    ]


def _category(folder: Path) -> Path:
    from uad_orchestrator.datasets.demo_generator import generate_demo

    generate_demo(folder, categories=[CATEGORY])
    return folder / CATEGORY


def _ours(folder: Path) -> dict[str, float]:
    import anomalib.engine  # noqa: F401  loaded before the clock starts, as the peer's is

    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.detectors import create_detector

    root = _category(folder).parent
    manifest = load_dataset("demo", root, CATEGORY, layout="mvtec_ad")
    train, test = (list(manifest.sources(part)) for part in (manifest.train, manifest.test))
    settings = {
        "image_size": SIDE,
        "batch_size": BATCH,
        "model": {"backbone": "resnet18", "pre_trained": False},
    }
    detector = create_detector("vision_padim_anomalib", train=settings, device="cpu", batch_size=BATCH)
    started = time.perf_counter()
    state = detector.fit_state(train)
    seconds = {"fit": time.perf_counter() - started}
    list(detector.respond(state, test[:1]))  # loads the model, which the peer has
    started = time.perf_counter()
    list(detector.respond(state, test))
    return seconds | {"score": time.perf_counter() - started}


def _anomalib(folder: Path) -> dict[str, float]:
    from anomalib.models import Padim

    from benchmarks.anomalib_peer import data_module, engine

    category = _category(folder)
    test = list((category / "test").glob("*/*.png"))
    data = data_module(category, train_batch_size=BATCH, eval_batch_size=BATCH)
    model = Padim(
        backbone="resnet18",
        pre_trained=False,
        pre_processor=Padim.configure_pre_processor(image_size=(SIDE, SIDE)),
        evaluator=False,
        visualizer=False,
    )
    running = engine(folder / "engine")
    started = time.perf_counter()
    running.fit(model, datamodule=data)
    fitted = time.perf_counter()
    found = running.predict(model, dataloaders=data.test_dataloader(), return_predictions=True)
    seconds = time.perf_counter() - fitted
    assert found is not None and sum(len(batch.pred_score) for batch in found) == len(test)
    return {"fit": fitted - started, "score": seconds}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps({"ours": _ours, "anomalib": _anomalib}[sys.argv[1]](Path(temporary))))
