"""Where a project's files lie, and what it runs on: never part of a version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from uad_orchestrator.project.errors import shown
from uad_orchestrator.project.settings.section import Section


class StorageSettings(Section):
    """Where artifacts and indexes lie. Never part of a version."""

    root: str = Field(
        ".uad", min_length=1, description="artifacts: a folder, or an fsspec URL such as s3://bucket/uad"
    )
    local: Path = Field(
        Path(".uad"), description="caches, index, locks and Dagster's instance; `root`, if that is a folder"
    )
    embeddings: Literal["local", "shared"] = Field(
        "local", description="patch embeddings: each machine's own, or shared through `root` as well"
    )
    keep: PositiveInt = Field(
        3, description="versions of each cell that `uad gc` keeps beside the current one"
    )


MOST_CATEGORIES = 32
"""Of a run: their names are a tag, and PostgreSQL indexes tags of some 2.7 kB at most."""


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
    run_per: Literal["cell", "embedder"] = Field(
        "cell",
        description="what each run that the daemon starts computes: a cell, or those of a category that share "
        "embedder, preset and resources",
    )
    categories_per_run: PositiveInt = Field(
        1,
        le=MOST_CATEGORIES,
        description="with `run_per: embedder`: of how many categories of a dataset a run computes such cells",
    )

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

    @model_validator(mode="after")
    def _of_groups_only(self) -> Self:
        if self.categories_per_run > 1 and self.run_per == "cell":
            raise ValueError(
                f"categories_per_run: {self.categories_per_run} needs `run_per: embedder` beside it: a cell has "
                "one category"
            )
        return self

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
