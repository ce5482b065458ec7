"""``vision_anomalib_checkpoint`` and ``vision_<name>_anomalib``: anomalib's models, loaded or trained."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from uad_orchestrator.detectors.anomalib.calibration_folder import calibration_sources
from uad_orchestrator.detectors.anomalib.names import BANK_MODELS
from uad_orchestrator.detectors.anomalib.regions import alone, inside_of, map_cells, pixel_cells
from uad_orchestrator.detectors.anomalib.results import AnomalibModel, RawResult
from uad_orchestrator.detectors.anomalib.settings import (
    AnomalibParts,
    CheckpointScoring,
    TrainSettings,
)
from uad_orchestrator.detectors.anomalib.trusted_files import (
    check_same,
    check_trusted,
    checkpoint_files,
    digests,
    read_files,
)
from uad_orchestrator.detectors.embedding.placement import PatchCells, PreparedImage, on_original
from uad_orchestrator.detectors.embedding.stream import EmbeddingStream
from uad_orchestrator.detectors.protocol.calibration import (
    CalibrationImages,
    folder_calibration,
    optimistic_calibration,
)
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.settings import MapSettings, Settings
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response, fitted_images
from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.source import ImageSource

logger = logging.getLogger(__name__)

SATURATED_SHARE = 0.005
"""Share of scores of exactly 0 or 1 above which they are suspected to be cut off."""


class AnomalibDetector(Detector):
    """A model of anomalib with its own network; the preset is applied to every image first.

    With a checkpoint (or an injected inferencer) ``fit`` looks at no image but those that calibrate. With
    ``train:`` the model is trained, on a part of the normals; the others calibrate it. Scores and maps are the
    model's own, before the normalisation that anomalib bakes into its exports. A preset's region of interest is
    kept as ``anomalib_regions`` says.

    Args:
        stream: gives preset and batch size; nothing is embedded.
        fit, scoring, maps: the settings of each stage.
        parts: the fields of ``AnomalibParts``.

    Raises:
        ValueError: more than one of checkpoint, inferencer and ``train:`` is given, or ``train:`` with a
            calibration folder.
    """

    def __init__(
        self,
        stream: EmbeddingStream,
        fit: Settings,
        scoring: CheckpointScoring,
        maps: MapSettings,
        **parts: Any,
    ) -> None:
        super().__init__(stream, fit, scoring, maps)
        self.parts = AnomalibParts(**parts)
        self._loaded: tuple[Mapping[str, str], AnomalibModel] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._device = "cpu"
        self._told_saturated = False
        given = {
            "checkpoint": self.parts.checkpoint,
            "inferencer": self.parts.inferencer,
            "train": self.train_settings,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} are given: the model comes from one of them")
        self._calibration_folder = scoring.calibration.folder
        if self.train_settings is not None and self._calibration_folder is not None:
            raise ValueError(
                "calibration.folder is for checkpoints; a training withholds normals to calibrate on"
            )

    @property
    def train_settings(self) -> TrainSettings | None:
        """How the model is trained; None for one that is loaded."""
        return getattr(self.fit_settings, "train", None)

    @property
    def device(self) -> str:
        """Where the model ran last."""
        return self._device if self._loaded is None else self._loaded[1].device

    # ---- stages ------------------------------------------------------------------------------------------

    def fit_state(self, images: Sequence[ImageSource]) -> DetectorState:
        """The checkpoint, looked into, or trained on a part of ``images``; ``images`` of the facts are that part.

        Raises:
            ValueError: no images; a checkpoint of another class.
            UntrustedFile: the checkpoint may not be loaded; the message has the line to type.
            ImportError: anomalib (for a graph: OpenVINO) is not installed.
        """
        if not images:
            raise ValueError("there are no images to fit on: at least one normal image is needed")
        if self.parts.inferencer is not None:
            return DetectorState({}, {"kind": "inferencer", "images": [], "holds_normals": True})
        if self.parts.checkpoint is not None:
            return self._state_of_checkpoint(Path(self.parts.checkpoint))
        if self.train_settings is not None:
            return self._trained(images, self.train_settings)
        raise ValueError("there is no model: give a `checkpoint:`, or `train:` to train one")

    def respond(
        self, state: DetectorState, images: Iterable[ImageSource], leave_out: bool = False
    ) -> Iterator[Response]:
        """The model's image score and map. Nothing can be left out of it.

        Raises:
            UntrustedFile: the checkpoint is not the one that was fitted, or not trusted any more.
            ValueError: the region of interest does not fit an image, or cannot be kept by a checkpoint's model,
                which gives no map.
        """
        model, trained = self._model(state), state.facts["kind"] == "trained"
        remaining, count, saturated = iter(images), 0, 0
        while batch := list(islice(remaining, self.stream.images_at_once)):
            started = time.perf_counter()
            prepared = [self._prepared(source, blanked=trained) for source in batch]
            results = model.run([image.pixels for image in prepared])
            seconds = (time.perf_counter() - started) / len(batch)
            for source, image, result in zip(batch, prepared, results, strict=True):
                count += 1
                saturated += result.score in (0.0, 1.0)
                kept = result
                if self.stream.roi is not None:
                    kept = inside_of(self.stream.roi, source, image, result, saw_all=not trained)
                yield _response(source, image, kept, seconds)
        if saturated > SATURATED_SHARE * count and not self._told_saturated:
            self._told_saturated = True
            logger.warning(
                "%d of %d scores are exactly 0 or 1: the model seems to cut them off, which ties images that differ. "
                "Export it without its post-processor (post_processor=False), or hand in the .ckpt.",
                saturated,
                count,
            )

    def calibration_images(
        self, state: DetectorState, train: Sequence[ImageSource], validation: Sequence[ImageSource] = ()
    ) -> CalibrationImages:
        """Normals that were not trained on; what a checkpoint was trained on nobody knows, so its training
        normals are the last resort, and the source says so.

        Raises:
            DatasetError: the calibration folder is not there, is empty, or holds something else than images.
        """
        if self._calibration_folder is not None:
            images = calibration_sources(Path(self._calibration_folder), self.parts.reading)
            return folder_calibration(images, self.scoring_settings.calibration)
        if state.facts["kind"] == "trained" or validation:
            return super().calibration_images(state, train, validation)
        logger.warning(
            "The thresholds come from training normals, which the checkpoint may have seen: then they are too low. "
            "Name a folder of normals it has not seen, `calibration: {folder: ...}`."
        )
        return optimistic_calibration(train, self.scoring_settings.calibration)

    def cells(self, source: ImageSource) -> PatchCells:
        """Where the values of a checkpoint's map lie. What a map will be that is yet to be trained nobody knows:
        there every pixel is a cell, so that all that reaches into a region of interest is trained on.
        """
        image = self.stream.prepare(source)
        if self.train_settings is not None:
            return pixel_cells(image)
        (result,) = self._model(self.fit_state([source])).run([image.pixels])
        return map_cells(image, result)

    def _prepared(self, source: ImageSource, *, blanked: bool) -> PreparedImage:
        """An image as the model sees it; ``blanked``: without what lies outside the region of interest."""
        image, roi = self.stream.prepare(source), self.stream.roi
        return alone(roi, source, image) if blanked and roi is not None else image

    # ---- where the model comes from ----------------------------------------------------------------------

    def _state_of_checkpoint(self, path: Path) -> DetectorState:
        files = checkpoint_files(path)
        contents = read_files(files)
        found = digests(contents)
        check_trusted(found, self.parts.trusted_checkpoints, path)
        model, network = _load(contents, path.name, self.parts.network, self.parts.device)
        self._keep(found, model)
        facts = {
            "kind": "checkpoint",
            "images": [],
            "files": found,
            "checkpoint": path.name,
            "network": network or "unknown",
            "holds_normals": network is None or network in BANK_MODELS,
        }
        return DetectorState({}, facts, {file.name: file for file in files})

    def _trained(self, images: Sequence[ImageSource], settings: TrainSettings) -> DetectorState:
        from uad_orchestrator.detectors.anomalib.training.engine import CHECKPOINT, train

        if self.parts.network is None:
            raise ValueError(
                "which model is to be trained? The detector's name says it: vision_<name>_anomalib"
            )
        folder = self.parts.folder
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="uad-training-")
            folder = Path(self._temporary.name)

        def pixels(source: ImageSource) -> RgbImage:
            return self._prepared(source, blanked=True).pixels

        done = train(self.parts.network, images, settings, pixels, self.parts.device, folder)
        self._device = done.device
        facts = {
            "kind": "trained",
            "images": fitted_images(done.fitted),
            "files": digests(read_files(done.files.values())),
            "checkpoint": CHECKPOINT,
            "network": self.parts.network,
            "holds_normals": self.parts.network in BANK_MODELS,
        }
        return DetectorState({}, facts | done.facts, done.files)

    def _model(self, state: DetectorState) -> AnomalibModel:
        """The model of a state: the files are read once, and are those whose digests the state has."""
        if state.facts["kind"] == "inferencer":
            from uad_orchestrator.detectors.anomalib.injected import InjectedModel

            return InjectedModel(self.parts.inferencer, self.parts.accepts)
        expected = state.facts["files"]
        trained = state.facts["kind"] == "trained"
        path = state.files[state.facts["checkpoint"]]
        if not trained:
            check_trusted(expected, self.parts.trusted_checkpoints, path)
        if self._loaded is None or self._loaded[0] != expected:
            contents = read_files(state.files.values())
            check_same(digests(contents), expected, path)
            model, _ = _load(contents, path.name, self.parts.network, self.parts.device, safely=trained)
            return self._keep(expected, model)
        return self._loaded[1]

    def _keep(self, found: Mapping[str, str], model: AnomalibModel) -> AnomalibModel:
        self._loaded = (found, model)
        return model


def _load(
    contents: Mapping[str, bytes], name: str, network: str | None, device: str, *, safely: bool = False
) -> tuple[AnomalibModel, str | None]:
    """The model in a checkpoint's bytes, and its folder name in anomalib as far as it is known."""
    suffix = Path(name).suffix
    if suffix in (".xml", ".onnx"):
        from uad_orchestrator.detectors.anomalib.openvino_graph import GraphModel

        return GraphModel(contents, name), network
    from uad_orchestrator.detectors.anomalib.torch_network import (
        TorchModel,
        network_of,
        read_exported,
        read_lightning,
    )

    if suffix == ".ckpt":
        if network is None:
            raise ValueError(
                f"{name}: a Lightning checkpoint does not say which model it is of: take vision_<name>_anomalib, "
                "such as vision_padim_anomalib"
            )
        return TorchModel(read_lightning(contents[name], name, network, safely=safely), device), network
    if suffix in (".pt", ".pth"):
        module = read_exported(contents[name], name, network)
        return TorchModel(module, device), network_of(module)
    raise ValueError(
        f"{name}: a checkpoint is a .pt, .ckpt, .xml or .onnx file, not {suffix or 'without suffix'}"
    )


def _response(source: ImageSource, image: PreparedImage, result: RawResult, seconds: float) -> Response:
    height, width = image.pixels.shape[:2]
    input_size = (height, width) if result.anomaly_map is None else result.anomaly_map.shape
    return Response(
        name=source.name,
        score=result.score,
        patch_grid=result.anomaly_map,
        region=on_original(result.region, image),
        original_size=image.original_size,
        input_size=(int(input_size[0]), int(input_size[1])),
        seconds=seconds,
    )
