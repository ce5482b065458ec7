"""The settings of anomalib's models, each in the stage that reads it, and what such a detector is handed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, PositiveInt

from uad_orchestrator.detectors.protocol.settings import CalibrationSettings, ScoringSettings, Settings
from uad_orchestrator.images.reading_settings import PLAIN_READING, ReadingSettings

TRAINING_LOG = "training.csv"
"""Beside a trained model's checkpoint: all that was logged, as (name, step, value)."""

Accepts = Literal["image", "list", "batch"]


class TrainSettings(Settings):
    """How a model is trained: the ``train:`` entry of a detector."""

    max_epochs: PositiveInt = Field(
        1, description="passes over the training images, unless the model fixes them"
    )
    batch_size: PositiveInt = Field(8, description="images per step")
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="input size in pixels: the side, or [height, width]; default: the model's own"
    )
    withheld: float = Field(
        0.2, gt=0, lt=1, description="share of the training normals kept for validation and calibration"
    )
    seed: int = Field(0, ge=0, description="of the split, the first weights and the order of the images")
    model: dict[str, JsonValue] = Field({}, description="arguments of anomalib's model class, by name")
    download: bool = Field(False, exclude=True, description="allow weights and data to be fetched")


class AnomalibFit(Settings):
    """Stage ``memory_bank`` of vision_<name>_anomalib."""

    train: TrainSettings | None = None


class CheckpointFit(Settings):
    """Stage ``memory_bank`` of vision_anomalib_checkpoint: all is in the checkpoint."""


class CheckpointCalibration(CalibrationSettings):
    """Which normals set the operating points of a checkpoint."""

    # what lies in it counts, not where it lies: its images' digests go with the checkpoint's
    folder: str | None = Field(
        None,
        min_length=1,
        exclude=True,
        description="a folder of normals the checkpoint has not seen; {dataset} and {category} make it one per cell",
    )


class CheckpointScoring(ScoringSettings):
    """Stage ``score_table`` of anomalib's models."""

    calibration: CheckpointCalibration = CheckpointCalibration()

    def calibrated_in(self, folder: Path) -> Self:
        """These settings with the calibration folder as it is for one cell."""
        return self.model_copy(
            update={"calibration": self.calibration.model_copy(update={"folder": str(folder)})}
        )


@dataclass(frozen=True)
class AnomalibParts:
    """What a detector of anomalib is handed besides images and settings.

    Attributes:
        network: the model's folder name in anomalib, which the checkpoint's class is held against; None: any.
        checkpoint: an exported ``.pt``, a Lightning ``.ckpt``, an OpenVINO ``.xml`` or an ``.onnx`` file.
        trusted_checkpoints: SHA-256 (hex) of the files that may be loaded.
        inferencer: used instead of a checkpoint: an object whose ``predict`` gives ``pred_score`` and, if it has
            one, ``anomaly_map``, as keys or attributes.
        accepts: what ``inferencer.predict`` takes: one ``(h, w, 3)`` image at a time (as anomalib's own), a list
            of such images, or one ``(n, h, w, 3)`` array; always RGB float32 in 0..1.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        folder: where a training keeps its checkpoints, to go on from there; None: a temporary folder.
        reading: how the files of a calibration folder are read.
    """

    network: str | None = None
    checkpoint: Path | str | None = None
    trusted_checkpoints: Collection[str] = ()
    inferencer: Any = None
    accepts: Accepts = "image"
    device: str = "auto"
    folder: Path | None = None
    reading: ReadingSettings = PLAIN_READING
