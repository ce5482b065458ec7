"""The tree that MVTec's published evaluation scripts read, of MVTec AD and of MVTec LOCO.

``<output>/<category>/test/<defect type>/<stem>.tiff``: a float32 TIFF per test image, of the image's own size
(``--anomaly_maps_dir`` of ``evaluate_experiment.py``).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from uad_orchestrator.export.category_maps import CategoryMaps, ExportError, Progress
from uad_orchestrator.export.destination import export_folder

LAYOUTS = ("mvtec_ad", "mvtec_loco")


def write_map_tree(
    categories: Sequence[CategoryMaps], output: Path, detector: str, progress: Progress | None = None
) -> Path:
    """Copy the maps of all test images into the tree; they are raw, as the detector's stages made them.

    Args:
        categories: of one dataset.
        output: the folder; an earlier export in its place is replaced.
        detector: named in the record.
        progress: called with (category, files written, files in all).

    Returns:
        ``output``.

    Raises:
        ExportError: a test image has no map; names all of them.
        FileExistsError: ``output`` holds something else.
    """
    faults = [fault for one in categories for fault in one.missing(one.manifest.test)]
    if faults:
        raise ExportError("the maps are not complete:", faults)
    record = {
        "dataset": categories[0].manifest.dataset,
        "detector": detector,
        "categories": {
            one.manifest.category: {"images": len(one.manifest.test), "anomaly_maps": one.version}
            for one in categories
        },
    }
    with export_folder(output, "maps", record) as folder:
        for one in categories:
            test = one.manifest.test
            for done, image in enumerate(test, 1):
                source = one.path(image)
                target = folder / one.manifest.category / "test" / image.defect_type / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                if progress:
                    progress(one.manifest.category, done, len(test))
    return output
