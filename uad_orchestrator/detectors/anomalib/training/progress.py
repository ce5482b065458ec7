"""What a training leaves behind while it runs, so that the next one can go on where it was killed."""

from __future__ import annotations

import csv
import logging
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.storage.atomic import new_file

logger = logging.getLogger(__name__)

CURVE_POINTS = 200
"""Points of a curve that are kept in the facts; the log file has them all."""


def whole_checkpoints() -> Any:
    """Lightning's way to keep checkpoints, of which a kill at any moment leaves the last one whole.

    Its own goes through the system's temporary folder: where that lies on another disk, the last checkpoint is
    overwritten in place, and what a kill cuts off stays there for ever.
    """
    import torch
    from anomalib.engine.plugins import AnomalibCheckpointIO

    class WholeCheckpoints(AnomalibCheckpointIO):
        def save_checkpoint(
            self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None
        ) -> None:
            with new_file(Path(path), alone=True) as aside:
                torch.save(checkpoint, aside)

    return WholeCheckpoints()


def left_behind(checkpoint: Path) -> Path | None:
    """The checkpoint of a training that was cut off; None where there is none, or the disk lost its end."""
    if not checkpoint.is_file():
        return None
    if not zipfile.is_zipfile(checkpoint):  # what torch writes; its directory stands at the end
        logger.warning("%s is torn, training starts anew", checkpoint)
        return None
    return checkpoint


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """``(step, value)`` of all that was logged, by name, as far as it is finite; a training that was gone on with
    has several logs, and a kill may have cut one off in the middle of a line."""
    curves: dict[str, dict[int, float]] = {}
    for log in sorted(folder.glob("log/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime_ns):
        whole_lines = log.read_text().rpartition("\n")[0]
        for row in csv.DictReader(whole_lines.splitlines()):
            for name, value in row.items():
                if name not in ("step", "epoch") and value and math.isfinite(float(value)):
                    curves.setdefault(name, {})[int(row["step"])] = float(value)
    return {name: sorted(points.items()) for name, points in sorted(curves.items())}


def write_log(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Write all points of all curves as CSV: name, step, value."""
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("name", "step", "value"))
        writer.writerows((name, step, value) for name, points in curves.items() for step, value in points)


def thinned(points: Sequence[tuple[int, float]]) -> list[list[float]]:
    """At most ``CURVE_POINTS`` of a curve's points, evenly chosen, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(points) - 1, CURVE_POINTS).round().astype(int))
    return [list(points[i]) for i in chosen]
