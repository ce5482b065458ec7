"""A category of 100,000 images: indexed for the first time, and looked at again when nothing has changed.

The files are written just before, so the system has them cached. Each measurement is a process of its own over
the library's own path: the layout is read, every file's digest taken (or remembered), the versions of the four
inputs made from it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fresh_process import measured, peak_memory_mb
from benchmarks.rows import BenchmarkRow

IMAGES, MASKED, FOLDERS = 100_000, 2_000, 100
BYTES = 2_000
CASE = f"{IMAGES:,} images"
PROJECT = """
datasets: {line: {layout: manifest, root: images/manifest.jsonl, categories: [part]}}
detectors: {patchcore: {model: vision_patchcore}}
"""


def run() -> list[BenchmarkRow]:
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder))
        time.sleep(2.5)  # a file hashed within two seconds of its last change is hashed again
        first = measured("manifest_scale", folder)
        again = measured("manifest_scale", folder)
    if again["version"] != first["version"] or first["images"] != IMAGES:
        raise RuntimeError(f"not the same {IMAGES} images twice: {first}, {again}")
    rows = []
    for measure, found, bar in (("indexed", first, 60), ("re-checked, nothing changed", again, 5)):
        details = {"CPU, s": found["cpu"], "digests, s": found["manifest"]}
        rows += [
            BenchmarkRow("manifest_scale", CASE, measure, found["seconds"], "s", bar, "lower", details),
            BenchmarkRow(
                "manifest_scale", CASE, f"{measure}: peak memory", found["peak_mb"] / 1024, "GB", 1, "lower"
            ),
        ]
    return rows


def write_dataset(home: Path) -> None:
    """A project of one category: ``manifest.jsonl`` and its images, 2,000 of them defective, with masks."""
    import random

    root, draws = home / "images", random.Random(0)
    for number in range(FOLDERS):
        (root / f"{number:02d}").mkdir(parents=True)
    with (root / "manifest.jsonl").open("w") as table:
        for number in range(IMAGES):
            row = {"image_path": f"{number % FOLDERS:02d}/{number:06d}.png", "category": "part"}
            (root / row["image_path"]).write_bytes(draws.randbytes(BYTES))
            if number < MASKED:
                mask = f"{number % FOLDERS:02d}/{number:06d}_mask.png"
                (root / mask).write_bytes(draws.randbytes(BYTES // 10))
                row |= {"split": "test", "label": 1, "defect_type": "scratch", "mask_path": mask}
            else:
                row |= {"split": "test" if number < 10 * MASKED else "train", "label": 0}
            table.write(json.dumps(row) + "\n")
    (home / "uad.yaml").write_text(PROJECT)


def _look_at(home: Path) -> dict[str, float | str]:
    """Seconds to the versions of all inputs that the images are part of; imports are not counted."""
    from uad_orchestrator.orchestration.versions.graph import Cell
    from uad_orchestrator.orchestration.versions.stores import open_state
    from uad_orchestrator.project import load_project

    cell = Cell("line/part", "patchcore")
    started, cpu = time.perf_counter(), time.process_time()
    state = open_state(load_project(home))
    manifest = state.manifest(cell.category)
    in_hand = time.perf_counter() - started
    inputs = ("dataset_category", "normal_images", "test_images", "ground_truth")
    versions = [state.version(asset, cell) for asset in inputs]
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "manifest": in_hand,
        "images": len(manifest.records),
        "version": versions[0],
        "peak_mb": peak_memory_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(_look_at(Path(sys.argv[1]))))
