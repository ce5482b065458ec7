"""The sections of the project file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.strictness import LeakRule, MaskRule, Strictness
from uad_orchestrator.detectors.protocol.settings import MapSettings, ScoringSettings, Settings
from uad_orchestrator.detectors.protocol.tiling_settings import TilingSettings
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.reading_settings import MAX_MEGAPIXELS, AlphaRule, ReadingSettings
from uad_orchestrator.metrics.operating_point import Pin
from uad_orchestrator.metrics.protocol import PROTOCOLS, EvaluationProtocol
from uad_orchestrator.project.cron import cron_fault
from uad_orchestrator.project.errors import shown

PROJECT_FILE = "uad.yaml"
"""``uad.yaml``, the name of the project file."""


class Section(BaseModel):
    """Strict and frozen: an unknown key is an error, a value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StorageSettings(Section):
    """Where artifacts and indexes lie. Never part of a version."""

    root: str = Field(
        ".uad", min_length=1, description="artifacts: a folder, or an fsspec URL such as s3://bucket/uad"
    )
    local: Path = Field(
        Path(".uad"), description="caches, index, locks and Dagster's instance; `root`, if that is a folder"
    )
    keep: PositiveInt = Field(
        3, description="versions of each cell that `uad gc` keeps beside the current one"
    )


class RuntimeSettings(Section):
    """How the work runs: recorded with every artifact, never part of a version."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    devices: tuple[str, ...] = Field(
        (), description="of the workers, in turn: numbers of GPUs, or words such as cuda:1; default: `device`"
    )
    cells_per_device: PositiveInt = Field(
        1, description="cells that are fitted or scored at once on a GPU which several workers share"
    )
    batch_size: PositiveInt | Literal["auto"] = Field(
        "auto",
        description="images that go through an embedder together; auto: 8 on a CPU, on a GPU as many as keep it busy "
        "and fit into its memory",
    )
    readers: PositiveInt | Literal["auto"] = Field(
        "auto", description="threads that read images ahead of the embedder; auto: one for each core"
    )
    workers: PositiveInt = Field(1, description="processes of `uad refresh`")

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError(f"is {shown(device)}, should be auto, cpu, cuda, cuda:<number> or mps")
        return device

    @field_validator("devices", mode="before")
    @classmethod
    def _in_turn(cls, devices: object, info: ValidationInfo) -> object:
        if not isinstance(devices, list):
            return devices
        named = tuple(_device_word(device) for device in devices)
        if not named:
            raise ValueError("is empty: name the devices that workers take in turn, or leave the key out")
        if len(set(named)) < len(named):
            raise ValueError(
                f"holds {list(named)}: a device stands there twice; more workers than devices share them anyway"
            )
        if (fixed := info.data.get("device", "auto")) != "auto":
            raise ValueError(f"stands beside device: {fixed}; give one of the two")
        return named

    @model_validator(mode="before")
    @classmethod
    def _one_worker_each(cls, values: Any) -> Any:
        """As many workers as devices, unless the file says how many."""
        if isinstance(values, dict) and isinstance(devices := values.get("devices"), list) and devices:
            return {"workers": len(devices), **values}
        return values


def _device_word(device: object) -> str:
    """``cuda:1`` for 1, ``cuda:0`` for "cuda".

    >>> _device_word(1), _device_word("cuda"), _device_word("cpu")
    ('cuda:1', 'cuda:0', 'cpu')
    """
    word = f"cuda:{device}" if isinstance(device, int) and not isinstance(device, bool) else str(device)
    word = "cuda:0" if word == "cuda" else word
    if not re.fullmatch(r"cpu|mps|cuda:(0|[1-9]\d*)", word):
        raise ValueError(f"holds {shown(device)}, should be numbers of GPUs, or cuda:<number>, mps or cpu")
    return word


class DatasetSettings(Section):
    """One dataset: where its files are and how they are arranged."""

    layout: str = Field(description="how the files are arranged; the dataset's own name, if that is a layout")
    root: Path = Field(description="the dataset's folder")
    categories: tuple[str, ...] | None = Field(None, description="those to benchmark; default: those found")
    exclude: tuple[str, ...] = Field((), description="images to leave out, by their path below `root`")
    incoming: Path | None = Field(None, description="the folder of new normal images")
    bit_depth: int | None = Field(
        None, ge=1, le=16, description="bits that 16-bit files really hold, e.g. 12; default: all of them"
    )
    value_range: tuple[float, float] | None = Field(
        None, description="[black, white] of files of floating point, or of 32-bit integers, e.g. [0, 1]"
    )
    alpha: AlphaRule = Field(
        "ignore",
        description="pixels that an alpha channel hides: read as if it did not (ignore), on white, or black (mask)",
    )
    masks: MaskRule | None = Field(
        None,
        description="required: a defective test image without a mask is an error; optional: pixel metrics leave it "
        "out; default: required of published sets, optional of layouts folder and manifest",
    )
    leaks: LeakRule = Field(
        "warn", description="error: copies between train, validation and test stop the category; or warn"
    )
    layout_settings: SerializeAsAny[LayoutSettings] | None = Field(
        None, description="the keys that the layout adds; None: its defaults"
    )

    @model_validator(mode="after")
    def _readable(self) -> DatasetSettings:
        self.reading()
        return self

    def reading(self, max_megapixels: float = MAX_MEGAPIXELS) -> ReadingSettings:
        """How its images are read.

        Args:
            max_megapixels: images with more pixels are errors.

        Returns:
            What its files do not say themselves, and the limit.
        """
        return ReadingSettings(self.bit_depth, self.value_range, self.alpha, max_megapixels)

    @property
    def strictness(self) -> Strictness:
        """What is an error in it."""
        return Strictness(self.masks, self.leaks)


class ImagesSettings(Section):
    """What every image is held to, whichever dataset it is of."""

    max_megapixels: PositiveFloat = Field(
        MAX_MEGAPIXELS,
        description="larger images are refused, by their header; an image takes some 3 to 6 MB per megapixel",
    )


class RepeatSettings(Section):
    """The same detector several times, each time with another seed."""

    seeds: tuple[NonNegativeInt, ...] = Field(
        min_length=2, description="one detector per seed, `<name>@seed<seed>`"
    )

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"holds {list(seeds)}: a seed stands there twice")
        return seeds


class ReviewSettings(Section):
    """The grey zone: parts below the image threshold that a person looks at."""

    from_fpr: float = Field(
        gt=0,
        lt=0.5,
        description="share of good parts, at most, that review and rejection take together; more than `contamination`",
    )


class CellPins(Section):
    """The thresholds of a cell that people chose instead of the calibrated ones."""

    image: Pin | None = Field(None, description="of image scores; default: the calibrated one")
    pixel: Pin | None = Field(None, description="of the values of anomaly maps; default: the calibrated one")

    @model_validator(mode="after")
    def _one_at_least(self) -> CellPins:
        if self.image is None and self.pixel is None:
            raise ValueError("pins nothing: give `image:` or `pixel:`, or take the entry out")
        return self


NO_PINS: CellPins = CellPins.model_construct()
"""Of a cell whose thresholds are the calibrated ones."""


class DetectorEntry(Section):
    """One detector of the grid: a model with its settings, each in the stage that reads it."""

    name: str = Field(description="the partition key, `<name>@seed<seed>` of one with `repeats`")
    repeat_of: str | None = Field(None, description="the entry's name in the file, where it has `repeats`")
    model: str = Field(description="which detector, e.g. vision_patchcore")
    preset: str = Field("plain", description="the preprocessing preset images pass through first")
    embedder: SerializeAsAny[EmbedderSettings] | None = Field(
        description="what makes the patch embeddings; default: the model's own; None: it has a network of its own"
    )
    checkpoint: str | None = Field(
        None,
        min_length=1,
        description="a trained model's file; {dataset} and {category} make it one per cell",
    )
    tiling: TilingSettings | None = Field(None, description="inspect the image in overlapping tiles")
    repeats: RepeatSettings | None = Field(None, description="the same detector with several seeds")
    review: ReviewSettings | None = Field(None, description="parts that a person looks at")
    fit: SerializeAsAny[Settings] = Field(description="what memory_bank reads")
    scoring: SerializeAsAny[ScoringSettings] = Field(description="what score_table reads")
    maps: MapSettings = Field(description="what anomaly_maps reads")

    @property
    def calibration_folder(self) -> str | None:
        """The folder of normals that a checkpoint is calibrated on, as the file says it; None: the dataset's own."""
        return getattr(self.scoring.calibration, "folder", None)


class EvaluationSettings(Section):
    """What differs from the protocols that the layouts come with."""

    protocol: str | Mapping[str, str] | None = Field(
        None, description="mvtec_ad, mvtec_loco or mvtec_ad2: of all datasets, or by dataset; else by layout"
    )
    aupro_limits: tuple[float, ...] | None = Field(
        None, description="false-positive rates AUPRO integrates to"
    )
    spro_limits: tuple[float, ...] | None = Field(None, description="false-positive rates sPRO integrates to")
    seg_f1: bool | None = Field(
        None, description="F1 of the pixels at mean + 3 std of held-out normals' maps"
    )
    aupimo: bool = Field(False, description="per-image overlap at false-positive rates of 1e-5 to 1e-4")
    roi_metrics: Literal["exclude", "include"] = Field(
        "exclude",
        exclude_if=lambda choice: (
            choice == "exclude"
        ),  # so that what was measured before there was one stays current
        description="pixels outside a preset's region of interest, in the pixel metrics",
    )

    def of(self, dataset: str, layout: str) -> EvaluationProtocol:
        """The protocol of a dataset: the one named for it, else its layout's, with what the keys change.

        >>> EvaluationSettings().of("parts", "folder").aupro_limits
        (0.3, 0.05)
        """
        named = self.protocol if isinstance(self.protocol, str) else (self.protocol or {}).get(dataset)
        protocol = PROTOCOLS[named] if named else PROTOCOLS.get(layout, PROTOCOLS["mvtec_ad"])
        changes: dict[str, Any] = {"aupimo": self.aupimo}
        if self.seg_f1 is not None:
            changes["seg_f1"] = self.seg_f1
        if protocol.overlap == "spro" and self.spro_limits:
            changes["spro_limits"] = self.spro_limits
        if protocol.overlap == "pro" and self.aupro_limits:
            changes["aupro_limits"] = self.aupro_limits
        return replace(protocol, **changes)

    @field_validator("aupro_limits", "spro_limits")
    @classmethod
    def _in_range(cls, limits: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if limits is None:
            return None
        if not limits or any(not 0 < limit <= 1 for limit in limits):
            raise ValueError(f"holds {list(limits)}: limits are false-positive rates above 0, at most 1")
        if len(set(limits)) != len(limits):
            raise ValueError(f"holds {list(limits)}: a limit stands there twice")
        return limits


class IntakeSettings(Section):
    """Which new normal images are taken into the memory bank, and which are put in quarantine."""

    quantile: float = Field(
        0.999, gt=0.5, le=1, description="of held-out normal scores: above it, quarantine"
    )
    detectors: Literal["majority", "any", "all"] = Field(
        "majority", description="how many of the category's detectors must find the image normal"
    )


class AutomationSettings(Section):
    """What happens by itself while the daemon runs."""

    recalibrate: str | None = Field(None, description="cron line of the schedule that takes new normals in")
    watch_checkpoints: PositiveInt = Field(30, description="seconds between two looks at the checkpoints")
    intake: IntakeSettings = IntakeSettings()
    threshold_shift: PositiveFloat = Field(
        0.2, description="share by which new normals may move a threshold before an asset check warns"
    )

    @field_validator("recalibrate")
    @classmethod
    def _cron(cls, line: str | None) -> str | None:
        if line is not None and (fault := cron_fault(line)):
            raise ValueError(f"is {shown(line)}: {fault}")
        return line


class ChecksSettings(Section):
    """When the asset checks speak up. Never part of a version."""

    metric_drop: float = Field(
        0.02, ge=0, description="a metric that falls by more than this against the version before"
    )
    false_positive_level: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="more normal test images above the threshold, or fewer, than chance gives with this probability",
    )


class PoolSettings(Section):
    """The Dagster pool of each computed asset of a cell."""

    memory_bank: str | None = Field(None, description="limits how many memory banks are fitted at once")
    score_table: str | None = Field(None, description="limits how many score tables are filled at once")
    anomaly_maps: str | None = Field(None, description="limits how many cells' maps are made at once")
    metrics_report: str | None = Field(None, description="limits how many cells are measured at once")

    @field_validator("*")
    @classmethod
    def _one_word(cls, pool: str | None) -> str | None:
        if pool is not None and not re.fullmatch(r"\S+", pool):
            raise ValueError(f"is {shown(pool)}: a pool's name has no spaces")
        return pool

    def of(self, asset: str) -> str | None:
        """The pool of an asset; None where it has none."""
        return getattr(self, asset, None)


class DagsterSettings(Section):
    """How the project appears in a Dagster instance that others share."""

    key_prefix: tuple[str, ...] = Field((), description="put before every asset key")
    name_prefix: tuple[str, ...] = Field(
        (), description="put before the names of jobs, sensors and schedules"
    )
    group: str | None = Field(
        None, description="the group all assets are in; default: dataset, settings and benchmark"
    )
    pools: PoolSettings = Field(
        PoolSettings(), description="of each computed asset, the Dagster pool whose limit it keeps to"
    )
    location_name: str = Field("uad_orchestrator", min_length=1, description="the code location's name")
    owners: tuple[str, ...] = Field(
        ("team:vision",), description="of every asset: e-mail addresses, or team:<name>"
    )

    @field_validator("key_prefix", "name_prefix", mode="before")
    @classmethod
    def _one_word(cls, prefix: object) -> object:
        return (prefix,) if isinstance(prefix, str) else prefix

    @field_validator("key_prefix", "name_prefix")
    @classmethod
    def _words(cls, prefix: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z]\w*", part, re.ASCII) for part in prefix):
            raise ValueError(
                f"is {list(prefix)}: each part is made of letters, digits and underscores, a letter first"
            )
        return prefix

    @field_validator("group")
    @classmethod
    def _group_name(cls, group: str | None) -> str | None:
        if group is not None and not re.fullmatch(r"\w+(/\w+)*", group, re.ASCII):
            raise ValueError(f"is {shown(group)}: a group's name is made of letters, digits and underscores")
        return group

    @field_validator("owners")
    @classmethod
    def _addresses(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        for owner in owners:
            if not re.fullmatch(r"team:\S+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
                raise ValueError(f"holds {shown(owner)}, should be e-mail addresses, or team:<name>")
        return owners
