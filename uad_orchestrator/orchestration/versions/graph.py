"""The graph as a table: every node, its partitions and what it reads.

Nothing here knows Dagster. The assets are declared from this table, the versions are computed along it and the
plan walks it, so that the three cannot disagree; one test holds it against the design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from uad_orchestrator.storage.artifact_key import ArtifactKey

Dimension = Literal["category", "detector", "cell", "none"]

SEPARATOR = "|"
"""Stands between category and detector in a cell's partition key (Dagster's own separator)."""


@dataclass(frozen=True, order=True)
class Cell:
    """One category x detector. ``category`` is ``dataset/category``, e.g. ``mvtec_ad/bottle``."""

    category: str
    detector: str

    def __str__(self) -> str:
        """As messages call it, ``mvtec_ad/bottle x patchcore``."""
        return f"{self.category} x {self.detector}"

    @property
    def dataset(self) -> str:
        """The dataset's name, ``mvtec_ad``."""
        return self.category.split("/", 1)[0]

    @property
    def category_name(self) -> str:
        """The category's name within its dataset, ``bottle``."""
        return self.category.split("/", 1)[1]

    @property
    def key(self) -> str:
        """The partition key, ``mvtec_ad/bottle|patchcore``."""
        return f"{self.category}{SEPARATOR}{self.detector}"

    def artifact_key(self, asset: str, version: str) -> ArtifactKey:
        """The address of an artifact of this cell."""
        return ArtifactKey(asset, self.dataset, self.category_name, self.detector, version)

    @classmethod
    def from_key(cls, key: str) -> Cell:
        """The cell of a partition key.

        >>> Cell.from_key("mvtec_ad/bottle|patchcore")
        Cell(category='mvtec_ad/bottle', detector='patchcore')
        """
        category, separator, detector = key.partition(SEPARATOR)
        if not separator or "/" not in category or not detector:
            raise ValueError(f"partition key {key!r}: expected dataset/category{SEPARATOR}detector")
        return cls(category, detector)


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        asset: its name.
        dimension: what it is partitioned by.
        reads: the nodes whose versions are part of its own.
        group: where Dagster's UI shows it.
        kinds: the UI's badges.
        description: one or two sentences for the UI.
    """

    asset: str
    dimension: Dimension
    reads: tuple[str, ...]
    group: str
    kinds: frozenset[str]
    description: str


def _node(asset: str, dimension: Dimension, reads: str, group: str, kinds: str, description: str) -> Node:
    return Node(asset, dimension, tuple(reads.split()), group, frozenset(kinds.split()), description)


NODES: Mapping[str, Node] = {
    node.asset: node
    for node in (
        _node(
            "dataset_category", "category", "", "dataset", "file",
            "What the dataset's folder holds: each image's split, label, defect type, masks, group and digest.",
        ),
        _node(
            "normal_images", "category", "dataset_category", "dataset", "image",
            "Digests of the training and validation normals: all that a detector may be fitted and calibrated on.",
        ),
        _node(
            "test_images", "category", "dataset_category", "dataset", "image",
            "Digests of the test images. A new one is scored; the memory bank stays.",
        ),
        _node(
            "ground_truth", "category", "dataset_category", "dataset", "image",
            "Digests of the test labels and masks. Read by the metrics alone.",
        ),
        _node(
            "preprocessing_preset", "detector", "", "settings", "yaml",
            "The detector's preprocessing preset, resolved to its last parameter.",
        ),
        _node(
            "checkpoint", "cell", "", "settings", "file",
            "Content digests of the weight files a cell loads; per cell where the path holds {dataset} or {category}.",
        ),
        _node("fit_settings", "detector", "", "settings", "yaml", "The settings the memory bank depends on."),
        _node("scoring_settings", "detector", "", "settings", "yaml", "The settings the scores depend on."),
        _node("map_settings", "detector", "", "settings", "yaml", "The settings the anomaly maps depend on."),
        _node(
            "evaluation_protocol", "category", "", "dataset", "yaml",
            "Which metrics, up to which limits. A new limit recomputes metrics only.",
        ),
        _node(
            "memory_bank", "cell", "normal_images preprocessing_preset checkpoint fit_settings", "benchmark", "numpy",
            "The fitted detector: bank rows with their source images. No score, no threshold.",
        ),
        _node(
            "score_table", "cell", "memory_bank normal_images test_images scoring_settings", "benchmark", "parquet",
            "Image scores and raw patch grids of the test images and of the normals that calibrate; threshold.",
        ),
        _node(
            "anomaly_maps", "cell", "score_table map_settings", "benchmark", "tiff",
            "A float32 anomaly map per test image at its own size, made from the patch grids; pixel threshold.",
        ),
        _node(
            "metrics_report", "cell", "score_table anomaly_maps ground_truth evaluation_protocol", "benchmark", "json",
            "Image and pixel metrics, both operating points, curves and a contact sheet.",
        ),
        _node(
            "leaderboard", "none", "metrics_report", "benchmark", "table",
            "All cells side by side; a missing or failed one is a row with its reason.",
        ),
    )
}  # fmt: skip

INPUTS: tuple[str, ...] = tuple(n.asset for n in NODES.values() if n.group != "benchmark")
"""The nodes whose version is the digest of their content."""

STAGES: tuple[str, ...] = ("memory_bank", "score_table", "anomaly_maps", "metrics_report")
"""The computed nodes of a cell, in order."""

CELL_ASSETS: tuple[str, ...] = ("checkpoint", *STAGES)
"""All that is materialised per cell: one run of the job ``cell``."""


def partition_of(asset: str, cell: Cell) -> str:
    """The partition of ``asset`` that belongs to a cell.

    >>> partition_of("preprocessing_preset", Cell("mvtec_ad/bottle", "patchcore"))
    'patchcore'
    """
    match NODES[asset].dimension:
        case "cell":
            return cell.key
        case "category":
            return cell.category
        case "detector":
            return cell.detector
    return ""


def cell_of(dimension: Dimension, partition: str) -> Cell:
    """A cell that has the partition's own part; the part the dimension lacks is empty."""
    if dimension == "cell":
        return Cell.from_key(partition)
    return Cell(partition, "") if dimension == "category" else Cell("", partition)
