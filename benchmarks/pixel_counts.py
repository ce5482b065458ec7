"""``PixelCounts`` against anomalib's AUPRO: speed, peak memory, and the error of every metric.

80 maps of 512 x 512. Each measurement runs in a process of its own, which has loaded the maps and the
libraries before the clock and the memory count start. Errors are against sorting all pixels; that reference
is itself held against scikit-learn in the same run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rows import BenchmarkRow

N_MAPS, SIZE = 80, 512
LIMITS = (0.3, 0.05)
MEGABYTE = 1024.0**2


def run() -> list[BenchmarkRow]:
    from benchmarks.exact_pixel_metrics import exact_pixel_metrics

    base, masks = base_maps(N_MAPS, SIZE, seed=0)
    rows: list[BenchmarkRow] = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "masks.npy"), masks)
        for case, of_base in CASES.items():
            maps = np.ascontiguousarray(of_base(base), dtype=np.float32)
            np.save(Path(folder, "maps.npy"), maps)
            ours = min((_measured("pixel_counts", folder) for _ in range(3)), key=lambda m: m["seconds"])
            exact = exact_pixel_metrics(maps, masks, LIMITS)
            rows += [_error_row(case, name, ours[name], exact[name]) for name in exact]
            rows.append(_row(case, "peak memory above the maps", ours["peak_mb"], "MB", 150))
            if case == "centred at 0":
                rows += _against_peers(case, folder, ours, exact)
    return rows


def _against_peers(
    case: str, folder: str, ours: dict[str, float], exact: dict[str, float]
) -> list[BenchmarkRow]:
    anomalib, sklearn = _measured("anomalib_aupro", folder), _measured("scikit_learn", folder)
    seconds = {"all metrics, s": ours["seconds"], "anomalib's AUPRO alone, s": anomalib["seconds"]}
    speed_up = anomalib["seconds"] / ours["seconds"]
    memory = {"ours, MB": ours["peak_mb"], "anomalib, MB": anomalib["peak_mb"]}
    return [
        BenchmarkRow(
            "pixel_counts", case, "speed-up over anomalib's AUPRO", speed_up, "x", 40, "higher", seconds
        ),
        _row(case, "memory of anomalib's AUPRO", ours["peak_mb"] / anomalib["peak_mb"], "of it", 1, memory),
        _error_row(case, "aupro_0.3 (anomalib)", ours["aupro_0.3"], anomalib["aupro_0.3"]),
        *(
            _error_row(case, f"{name} (scikit-learn)", ours[name], sklearn[name])
            for name in ("pixel_auroc", "pixel_ap")
        ),
        *(
            _error_row(case, f"reference's {name} (scikit-learn)", exact[name], sklearn[name])
            for name in sklearn
            if name in exact
        ),
    ]


def _error_row(case: str, metric: str, ours: float, exact: float) -> BenchmarkRow:
    bar = 5e-5 if metric.startswith("pixel_ap") else 1e-5
    return _row(case, f"error of {metric}", abs(ours - exact), "", bar, {"exact": exact})


def _row(
    case: str, measure: str, value: float, unit: str, bar: float, details: dict[str, float] | None = None
) -> BenchmarkRow:
    return BenchmarkRow("pixel_counts", case, measure, value, unit, bar, "lower", details or {})


CASES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "centred at 0": lambda base: base,
    "exponential tails": lambda base: np.exp(1.5 * base),
    "20 +- 0.5": lambda base: 20 + 0.5 * base,
    "1.02 +- 0.01": lambda base: 1.02 + 0.01 * base,
    "1000 +- 5": lambda base: 1000 + 5 * base,
    "many ties": lambda base: np.round(20 * base) / 20,
    "constant": lambda base: np.full_like(base, 0.7),
    "one outlier of 1e4": lambda base: np.where(np.arange(base.size).reshape(base.shape) == 12345, 1e4, base),
}


def base_maps(n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps of unit variance, raised at the defects: one to three in every second image."""
    import cv2

    rng = np.random.default_rng(seed)
    maps, masks = np.empty((n, size, size), np.float32), np.zeros((n, size, size), bool)
    for index in range(n):
        smooth = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), 4)
        defects = np.zeros((size, size), np.uint8)
        for _ in range(int(rng.integers(1, 4)) if index % 2 else 0):
            centre = tuple(int(c) for c in rng.integers(size // 16, size - size // 16, 2))
            axes = tuple(int(a) for a in rng.integers(4, size // 14, 2))
            cv2.ellipse(defects, centre, axes, float(rng.integers(180)), 0, 360, 1, -1)
        maps[index] = smooth / smooth.std() + 3 * cv2.GaussianBlur(defects.astype(np.float32), (0, 0), 5)
        masks[index] = defects > 0
    return maps, masks


def _measured(what: str, folder: str) -> dict[str, float]:
    """Seconds, peak memory (MB) and metrics, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.pixel_counts", what, folder]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    if done.returncode:
        raise RuntimeError(f"measuring {what} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(what: str, folder: str) -> dict[str, float]:
    prepared = {
        "pixel_counts": _pixel_counts,
        "anomalib_aupro": _anomalib_aupro,
        "scikit_learn": _scikit_learn,
    }[what]()
    maps, masks = np.load(Path(folder, "maps.npy")), np.load(Path(folder, "masks.npy"))
    before, start = _peak_memory(), time.perf_counter()
    metrics = prepared(maps, masks)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mb": (_peak_memory() - before) / MEGABYTE, **metrics}


Measured = Callable[[np.ndarray, np.ndarray], dict[str, float]]


def _pixel_counts() -> Measured:
    import cv2  # noqa: F401  loaded before the clock starts

    from uad_orchestrator.metrics import PixelCounts

    def measured(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
        counts = PixelCounts()
        for anomaly_map, mask in zip(maps, masks, strict=True):
            counts.update(anomaly_map, mask)
        return counts.compute(LIMITS)

    return measured


def _anomalib_aupro() -> Measured:
    import torch
    from anomalib.metrics.aupro import _AUPRO

    def measured(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
        metric = _AUPRO(fpr_limit=0.3)
        for anomaly_map, mask in zip(torch.from_numpy(maps), torch.from_numpy(masks), strict=True):
            metric.update(anomaly_map[None], mask[None].int())
        return {"aupro_0.3": float(metric.compute())}

    return measured


def _scikit_learn() -> Measured:
    from sklearn.metrics import average_precision_score, roc_auc_score

    def measured(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
        truth, scores = masks.ravel(), maps.ravel()
        return {
            "pixel_auroc": float(roc_auc_score(truth, scores)),
            "pixel_ap": float(average_precision_score(truth, scores)),
        }

    return measured


def _peak_memory() -> int:
    """The process's peak resident memory so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would begin with the parent's size
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:3])))
