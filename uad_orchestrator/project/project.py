"""What the sections of a project file make: the datasets, the detectors, the grid of both."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from uad_orchestrator.images.reading_settings import ReadingSettings
from uad_orchestrator.metrics.protocol import EvaluationProtocol
from uad_orchestrator.metrics.thresholds.costs import Costs
from uad_orchestrator.preprocessing.settings import PresetSettings
from uad_orchestrator.project.settings import (
    NO_PINS,
    AutomationSettings,
    CellPins,
    ChecksSettings,
    DagsterSettings,
    DatasetSettings,
    DetectorEntry,
    EvaluationSettings,
    ImagesSettings,
    LineSettings,
    RuntimeSettings,
    Section,
    StorageSettings,
)


class Project(Section):
    """A project file, checked; its relative paths resolved against the file's folder.

    Attributes:
        home: the folder of the project file.
        storage: where artifacts and indexes lie.
        runtime: device, batch size, workers.
        images: what every image is held to.
        datasets: each dataset's settings, by name.
        presets: the file's own presets, by name.
        detectors: the detectors of the grid, by name; one per seed where an entry has ``repeats``.
        evaluation: what differs from the layouts' protocols.
        costs: what wrong decisions cost on the line; None: nobody says. Never part of a version.
        operating_points: category key -> detector -> the thresholds that people chose instead of the calibrated ones.
        automation: what happens by itself while Dagster's daemon runs.
        line: where the records of the line lie.
        checks: when the asset checks speak up.
        dagster: how the project appears in Dagster.
        found_categories: of each dataset that declares none, the categories found when the file was read, and those
            that were there before and are away.
        unreachable: a dataset's name, or a category key -> why its images cannot be read now. Loading does
            not fail on it: the assets of that dataset or category do.
        missing_files: the place of a key -> the file it names, which is not there. Only where the project
            was loaded with ``allow_missing_files``: the assets of that detector then fail.
    """

    home: Path
    storage: StorageSettings = StorageSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    images: ImagesSettings = ImagesSettings()
    datasets: dict[str, DatasetSettings]
    presets: dict[str, PresetSettings] = Field({})
    detectors: dict[str, DetectorEntry]
    evaluation: EvaluationSettings = EvaluationSettings()
    costs: Costs | None = None
    operating_points: dict[str, dict[str, CellPins]] = Field({})
    automation: AutomationSettings = AutomationSettings()
    line: LineSettings = LineSettings()
    checks: ChecksSettings = ChecksSettings()
    dagster: DagsterSettings = DagsterSettings()
    trusted_checkpoints: tuple[str, ...] = Field((), description="SHA-256 of checkpoints that may run code")
    found_categories: dict[str, tuple[str, ...]] = Field({})
    unreachable: dict[str, str] = Field({})
    missing_files: dict[str, str] = Field({})

    def category_keys(self) -> list[str]:
        """The categories of the grid.

        Returns:
            ``dataset/category`` of each, datasets in the file's order.
        """
        return [
            f"{name}/{category}"
            for name, dataset in self.datasets.items()
            for category in (
                self.found_categories.get(name, ()) if dataset.categories is None else dataset.categories
            )
        ]

    def why_unreachable(self, category: str) -> str | None:
        """Why the images of a category cannot be read now.

        Args:
            category: its key, ``dataset/category``.

        Returns:
            The reason, of its dataset or its own; None where nothing is known against it.
        """
        return self.unreachable.get(category.partition("/")[0]) or self.unreachable.get(category)

    def protocol(self, dataset: str) -> EvaluationProtocol:
        """What is measured on the categories of a dataset.

        Args:
            dataset: its name.

        Returns:
            The protocol: that of its layout, with what ``evaluation`` changes.
        """
        return self.evaluation.of(dataset, self.datasets[dataset].layout)

    def pins(self, category: str, detector: str) -> CellPins:
        """The thresholds that people chose for a cell.

        Args:
            category: its key, ``dataset/category``.
            detector: its detector.

        Returns:
            Both, None where the calibrated one holds.
        """
        return self.operating_points.get(category, {}).get(detector, NO_PINS)

    def reading(self, dataset: str) -> ReadingSettings:
        """How the images of a dataset are read.

        Args:
            dataset: its name.

        Returns:
            What its entry says, and the project's limit of pixels.
        """
        return self.datasets[dataset].reading(self.images.max_megapixels)

    def entries(self) -> dict[str, DetectorEntry]:
        """The detectors as the file calls them.

        Returns:
            The entries by name; of one with ``repeats`` the last seed stands for all.
        """
        return {entry.repeat_of or name: entry for name, entry in self.detectors.items()}

    def repeats(self) -> dict[str, tuple[str, ...]]:
        """The entries with ``repeats``.

        Returns:
            Of each, by name, its detectors, one per seed.
        """
        of: dict[str, tuple[str, ...]] = {}
        for name, entry in self.detectors.items():
            if entry.repeat_of:
                of[entry.repeat_of] = (*of.get(entry.repeat_of, ()), name)
        return of

    def cells(self) -> list[tuple[str, str]]:
        """The grid.

        Returns:
            Every ``(category key, detector)``.
        """
        return [(category, detector) for category in self.category_keys() for detector in self.detectors]
