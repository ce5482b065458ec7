"""The project as it stands on disk right now: its inputs' versions, and by arithmetic everybody else's.

A computed node's version is the digest of its name, its stage's version constant and the versions of what it
reads: known before anything is computed. It is at once Dagster's data version, the artifact's address, the key
of the lineage and the test for staleness.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.detectors.registry import detector_spec
from uad_orchestrator.embedders.create import weight_file
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.metrics.cell import METRICS_VERSION
from uad_orchestrator.metrics.thresholds import CALIBRATION_VERSION
from uad_orchestrator.orchestration.versions import input_contents
from uad_orchestrator.orchestration.versions.graph import INPUTS, NODES, STAGES, Cell, partition_of
from uad_orchestrator.orchestration.versions.input_contents import Digests
from uad_orchestrator.orchestration.versions.weight_paths import calibration_folder, checkpoint_path
from uad_orchestrator.project import DetectorEntry, Project
from uad_orchestrator.project.settings import NO_PINS
from uad_orchestrator.storage.digests import digest_of


class InputUnavailable(RuntimeError):
    """An input of a cell cannot be read: the dataset is out of reach, an image or a weight file is missing."""


@dataclass(frozen=True)
class Input:
    """An input as it is now: its content and the digest of it.

    ``reads`` has the versions of what the graph draws above it: the images of a category come out of its
    manifest. Dagster records them; they are no part of the version.
    """

    asset: str
    partition: str
    content: Mapping[str, Any]
    version: str
    reads: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ProjectState:
    """Fingerprints of a project's inputs, each taken once, when it is first asked for.

    Args:
        project: the project as its file says now.
        digests: SHA-256 (hex) of a file's bytes; pass the project's digest cache.
    """

    project: Project
    digests: Digests
    _inputs: dict[tuple[str, str], Input | InputUnavailable] = field(default_factory=dict, repr=False)
    _found: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)
    _manifests: dict[str, Manifest] = field(default_factory=dict, repr=False)
    _versions: dict[tuple[str, Cell], str] = field(default_factory=dict, repr=False)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every category x detector of the project, in order."""
        return tuple(Cell(category, detector) for category, detector in self.project.cells())

    def entry(self, cell: Cell) -> DetectorEntry:
        """The cell's detector as the project file describes it."""
        try:
            return self.project.detectors[cell.detector]
        except KeyError:
            known = ", ".join(sorted(self.project.detectors))
            raise InputUnavailable(
                f"detector {cell.detector!r} is not in uad.yaml (there: {known})"
            ) from None

    def manifest(self, category: str) -> Manifest:
        """The category's manifest, with the digest of every file."""
        if category not in self._manifests:
            name, category_name = category.split("/", 1)
            if name not in self.project.datasets:
                raise InputUnavailable(f"dataset {name!r} is not in uad.yaml")
            if why := self.project.why_unreachable(category):
                raise InputUnavailable(why)
            dataset = self.project.datasets[name]
            self._manifests[category] = load_dataset(
                name,
                dataset.root,
                category_name,
                layout=dataset.layout,
                layout_settings=dataset.layout_settings,
                exclude=dataset.exclude,
                strictness=dataset.strictness,
                digests=self.digests,
                reading=self.project.reading(name),
                categories=self.categories(name),
            )
        return self._manifests[category]

    def categories(self, name: str) -> frozenset[str]:
        """The categories below a dataset's root, listed once; none where that fails: whoever reads one says why."""
        if name not in self._found:
            dataset = self.project.datasets[name]
            with suppress(DatasetError):
                found = find_categories(dataset.layout, dataset.root, dataset.layout_settings)
                self._found[name] = frozenset(found)
        return self._found.get(name, frozenset())

    def input(self, asset: str, cell: Cell) -> Input:
        """An input of a cell.

        Raises:
            InputUnavailable: with the file and the reason.
        """
        key = (asset, partition_of(asset, cell))
        if key not in self._inputs:
            self._inputs[key] = self._read(asset, cell)
        found = self._inputs[key]
        if isinstance(found, InputUnavailable):
            raise found
        return found

    def inputs(self, cells: Collection[Cell], assets: Iterable[str] = INPUTS) -> Iterator[Input]:
        """The inputs of cells, each once, in order of dependency; those that cannot be read are left out."""
        for asset in assets:
            places = {partition_of(asset, cell): cell for cell in cells}
            for cell in places.values():
                with suppress(InputUnavailable):
                    yield self.input(asset, cell)

    def version(self, asset: str, cell: Cell) -> str:
        """The version ``asset`` has for a cell, or will have once it is computed.

        Raises:
            InputUnavailable: an input below it cannot be read.
        """
        if asset not in STAGES:
            return self.input(asset, cell).version
        key = (asset, cell)
        if key not in self._versions:
            recipe = {"stage_version": self.stage_version(asset, cell), "reads": self.reads(asset, cell)}
            self._versions[key] = digest_of({"asset": asset, **recipe, **self.chosen(asset, cell)})
        return self._versions[key]

    def reads(self, asset: str, cell: Cell) -> dict[str, str]:
        """The versions of what ``asset`` reads for a cell."""
        return {name: self.version(name, cell) for name in NODES[asset].reads}

    def chosen(self, asset: str, cell: Cell) -> dict[str, Any]:
        """What people chose for a cell that ``asset`` depends on: pinned thresholds, and where review begins.

        They act on scores and maps that are there. So they are part of the recipe of the metrics alone, and of the
        maps where small regions are removed by the pixel threshold.

        Returns:
            ``operating_point`` and ``review``, each where there is one: a cell without keeps the version it had.
        """
        if asset not in ("anomaly_maps", "metrics_report"):
            return {}
        entry, pins = self.entry(cell), self.project.pins(cell.category, cell.detector)
        if asset == "anomaly_maps" and pins is not NO_PINS:
            pins = pins.model_copy(update={"image": None} | ({} if entry.maps.min_area else {"pixel": None}))
        points = {} if pins is NO_PINS else pins.model_dump(mode="json", exclude_defaults=True)
        found = {"operating_point": points} if points else {}
        if asset == "metrics_report" and entry.review is not None:
            found["review"] = entry.review.model_dump(mode="json")
        return found

    def stage_version(self, asset: str, cell: Cell) -> int:
        """The version constant of the code behind a computed node; of the score table with that of its threshold."""
        if asset == "metrics_report":
            return METRICS_VERSION
        stage = {"memory_bank": "fit", "score_table": "scoring", "anomaly_maps": "maps"}[asset]
        spec = detector_spec(self.entry(cell).model)
        of_thresholds = CALIBRATION_VERSION if asset == "score_table" and not spec.transductive else 0
        return spec.versions[stage] + of_thresholds

    def weights(self, cell: Cell) -> Path | None:
        """The embedder's weight file; None where it needs none, or there is no embedder."""
        embedder = self.entry(cell).embedder
        return None if embedder is None else weight_file(embedder, self.project.home)

    def checkpoint(self, cell: Cell) -> Path | None:
        """The trained model's file that the cell loads; None where it loads none."""
        self.entry(cell)
        return checkpoint_path(self.project, cell)

    def calibration_folder(self, cell: Cell) -> Path | None:
        """The folder of normals that the cell's checkpoint is calibrated on; None where it names none."""
        self.entry(cell)
        return calibration_folder(self.project, cell)

    def _read(self, asset: str, cell: Cell) -> Input | InputUnavailable:
        try:
            content = self._content(asset, cell)
        except (OSError, ValueError, ImportError, WeightsError, InputUnavailable) as error:
            return InputUnavailable(f"{asset} of {partition_of(asset, cell)}: {error}")
        return Input(asset, partition_of(asset, cell), content, digest_of(content), self.reads(asset, cell))

    def _content(self, asset: str, cell: Cell) -> Mapping[str, Any]:
        if asset == "checkpoint":
            return {
                **input_contents.checkpoint(self.weights(cell), self.checkpoint(cell), self.digests),
                **input_contents.calibration(self.calibration_folder(cell), self.digests),
            }
        if asset == "evaluation_protocol":
            return input_contents.evaluation_protocol(self.project, cell.dataset)
        if asset == "preprocessing_preset":
            return input_contents.preprocessing_preset(self.project, self.entry(cell))
        if NODES[asset].dimension == "category":
            of_manifest = {
                "dataset_category": input_contents.dataset_category,
                "normal_images": input_contents.normal_images,
                "test_images": input_contents.test_images,
                "ground_truth": input_contents.ground_truth,
            }
            return of_manifest[asset](self.manifest(cell.category))
        of_entry = {
            "fit_settings": input_contents.fit_settings,
            "scoring_settings": input_contents.scoring_settings,
            "map_settings": input_contents.map_settings,
        }
        return of_entry[asset](self.entry(cell))
