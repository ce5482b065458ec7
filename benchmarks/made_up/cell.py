"""A PatchCore cell on a made-up category, from its files to its metrics: ours, and anomalib's fit + test.

Imports, the network with its (random, equal) weights and the device's start come before the clock on both sides.
Ours does more within its time: it calibrates both thresholds on every normal left out, and its maps have the size
of the images.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from uad_orchestrator.embedders.settings import EmbedderSettings
    from uad_orchestrator.metrics import PixelCounts

LAYERS = ("layer2", "layer3")
WEIGHTS_SEED = 0


@dataclass(frozen=True)
class Cell:
    """What is computed.

    Attributes:
        folder: a category's, or one that holds several.
        backbone: a CNN of torchvision.
        image_size: side of its input, in pixels.
        dimension: d of a patch embedding.
        ratio: of the coreset.
        device: where the network and the comparisons run.
    """

    folder: str
    backbone: str
    image_size: int
    dimension: int
    ratio: float
    device: str

    @property
    def embedder(self) -> EmbedderSettings:
        """The network with random weights."""
        from uad_orchestrator.embedders.settings import EmbedderSettings

        return EmbedderSettings(
            name=self.backbone,
            weights=f"random:{WEIGHTS_SEED}",
            layers=LAYERS,
            image_size=self.image_size,
            dimension=self.dimension,
        )

    def to_json(self) -> str:
        """As a process's argument."""
        return json.dumps(asdict(self))


def count_pixels(maps: Any, masks: list[list[Path]]) -> PixelCounts:
    """Maps counted on all threads, their masks read ahead.

    Args:
        maps: ``(H, W)`` float32 each.
        masks: each image's mask files; none of a normal one.
    """
    from uad_orchestrator import metrics
    from uad_orchestrator.threads import available_threads, ordered_map

    threads = available_threads()
    pairs = zip(maps, masks, strict=True)
    images = ordered_map(
        lambda pair: (pair[0], _mask(pair[1], pair[0].shape)), pairs, threads=threads, ahead=threads
    )
    return metrics.count_pixels(images, threads=threads)


def _mask(files: list[Path], shape: tuple[int, ...]) -> np.ndarray:
    from uad_orchestrator.images.decode import read_mask

    mask = np.zeros(shape, bool)
    for file in files:
        mask |= read_mask(file)
    return mask


def _ours(cell: Cell) -> dict[str, float]:
    from benchmarks.made_up.gpu_use import GpuUse
    from uad_orchestrator.datasets.load import load_dataset
    from uad_orchestrator.detectors import create_detector
    from uad_orchestrator.metrics import image_metrics

    folder = Path(cell.folder)
    detector = create_detector(
        "vision_patchcore", embedder=cell.embedder, coreset={"ratio": cell.ratio}, device=cell.device
    )
    detector.stream.embedder.embed(np.zeros((cell.image_size, cell.image_size, 3), np.uint8))
    with GpuUse(cell.device) as use:
        started = time.perf_counter()
        manifest = load_dataset("mvtec_ad", folder.parent, folder.name)
        detector.fit(list(manifest.sources(manifest.train)))
        fitted = time.perf_counter()
        test = list(manifest.sources(manifest.test))
        scores = detector.decision_function(test)
        scored = time.perf_counter()
        maps = detector.predict_anomaly_map(test)
        mapped = time.perf_counter()
        masks = [[manifest.root / file.path for file in record.masks] for record in manifest.test]
        pixels = count_pixels(maps, masks).compute()
        figures = image_metrics(scores, [record.label for record in manifest.test])
        ended = time.perf_counter()
    return {
        "seconds": ended - started,
        "fit, s": fitted - started,
        "scores, s": scored - fitted,
        "maps, s": mapped - scored,
        "metrics, s": ended - mapped,
        "image_auroc": figures.auroc,
        "pixel_auroc": pixels["pixel_auroc"],
        "aupro": pixels["aupro_0.3"],
        **use.found,
    }


def _anomalib(cell: Cell) -> dict[str, float]:
    import torch

    from benchmarks.anomalib_peer import data_module, engine
    from benchmarks.made_up.gpu_use import GpuUse

    on_cpu = cell.device == "cpu"
    data = data_module(
        Path(cell.folder),
        mask_dir=["ground_truth/spot"],
        num_workers=0 if on_cpu else 8,  # 8 is its own default
    )
    model = _anomalib_model(cell)
    with torch.inference_mode():
        blank = torch.zeros(1, 3, cell.image_size, cell.image_size, device=cell.device)
        model.to(cell.device).model.feature_extractor(blank)
    with tempfile.TemporaryDirectory() as folder, GpuUse(cell.device) as use:
        running = engine(folder, accelerator="cpu" if on_cpu else "gpu")
        started = time.perf_counter()
        running.fit(model, datamodule=data)
        fitted = time.perf_counter()
        (found,) = running.test(model, datamodule=data, verbose=False)
        ended = time.perf_counter()
    return {
        "seconds": ended - started,
        "fit, s": fitted - started,
        "test, s": ended - fitted,
        "image_auroc": float(found["image_AUROC"]),
        "pixel_auroc": float(found["pixel_AUROC"]),
        "aupro": float(found["pixel_AUPRO"]),
        **use.found,
    }


def _anomalib_model(cell: Cell) -> Any:
    """Its PatchCore with our weights and with the metrics that ours has, AUPRO among them."""
    import torch
    import torchvision
    from anomalib.metrics import AUPRO, AUROC, Evaluator
    from anomalib.models import Patchcore

    on_maps: dict[str, Any] = {"fields": ["anomaly_map", "gt_mask"], "prefix": "pixel_"}
    image_auroc = AUROC(fields=["pred_score", "gt_label"], prefix="image_")
    size = (cell.image_size, cell.image_size)
    model = Patchcore(
        backbone=cell.backbone,
        layers=LAYERS,
        pre_trained=False,
        coreset_sampling_ratio=cell.ratio,
        pre_processor=Patchcore.configure_pre_processor(image_size=size),
        evaluator=Evaluator(test_metrics=[image_auroc, AUROC(**on_maps), AUPRO(**on_maps)]),
        visualizer=False,
    )
    torch.manual_seed(WEIGHTS_SEED)
    given = torchvision.models.get_model(cell.backbone, weights=None).state_dict()
    backbone = model.model.feature_extractor.feature_extractor
    backbone.load_state_dict({name: given[name] for name in backbone.state_dict()})
    return model


if __name__ == "__main__":
    print(json.dumps({"ours": _ours, "anomalib": _anomalib}[sys.argv[1]](Cell(**json.loads(sys.argv[2])))))
