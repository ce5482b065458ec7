"""The annotation formats, a reader each: files to ``Annotations``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from uad_orchestrator.datasets.annotations.formats import coco, csv_table, labelme, voc, yolo
from uad_orchestrator.datasets.annotations.marks import Annotations

READERS: Mapping[str, Callable[[Sequence[Path], Path], Annotations]] = {
    "coco": coco.read,
    "labelme": labelme.read,
    "yolo": yolo.read,
    "voc": voc.read,
    "csv": csv_table.read,
}
"""By name; each is called with the annotations' files or folders and the images' folder."""
