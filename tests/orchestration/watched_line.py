"""A small project with a line: a fitted cell, and records that its bundle might have written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from tests.inference.records.made_up import made_records, write_journal
from tests.orchestration.workshop import Workshop
from uad_orchestrator.images.look import look_at
from uad_orchestrator.inference.records.health import look_values
from uad_orchestrator.inference.records.record import LOOKS, LineRecord
from uad_orchestrator.orchestration.assets.line_partitions import day_key
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.cells.points_in_use import calibration_scores, image_point
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.orchestration.versions.graph import Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store

CELL = Cell("alpha/disc", "patchcore")


def watched(values: dict[str, Any]) -> None:
    """One detector, 24 normals, and a line whose records lie beside the project file."""
    values["detectors"] = {"patchcore": values["detectors"]["patchcore"] | {"contamination": 0.05}}
    values["line"] = {"records": "records", "start": "2026-11-01"}


@dataclass(frozen=True)
class WatchedLine:
    """The project of a line."""

    workshop: Workshop

    @classmethod
    def build(cls, home: Path) -> WatchedLine:
        """Fitted and calibrated; nothing recorded yet."""
        workshop = Workshop.build(home, {"alpha": ["disc"]}, train=24)
        workshop.edit(watched)
        assert not workshop.refresh().failed
        return cls(workshop)

    def copied_to(self, home: Path) -> WatchedLine:
        """The same, to be changed."""
        return WatchedLine(self.workshop.copied_to(home))

    @property
    def folder(self) -> Path:
        """Where it records to."""
        return self.workshop.home / "records"

    @property
    def run(self) -> CellRun:
        """Its cell."""
        project = self.workshop.project
        return CellRun(CELL, open_state(project), open_store(project))

    def records(
        self, day: str, parts: int, *, seed: int = 0, score: float = 0.0, light: float = 0.0
    ) -> list[LineRecord]:
        """A day of parts that look and score as the normals do, or otherwise.

        Args:
            score: added to every score, in standard deviations of the normals.
            light: added to brightness and colours.
        """
        run, rng = self.run, np.random.default_rng(seed)
        manifest = run.state.manifest(CELL.category)
        looks = [look_values(look_at(source)) for source in manifest.sources(manifest.train)]
        chosen = [dict(zip(LOOKS, looks[i], strict=True)) for i in rng.integers(len(looks), size=parts)]
        lit = [
            {
                name: value + (0 if name == "sharpness" else light)
                for name, value in look.items()
                if value is not None
            }
            for look in chosen
        ]
        normals = np.array(calibration_scores(run))
        scores = rng.choice(normals, parts) + score * normals.std()
        threshold = image_point(run).threshold
        about = {"category": CELL.category, "detector": CELL.detector}
        return [
            replace(record, **about)
            for record in made_records(day, scores, threshold=threshold, looks=lit, series=seed)
        ]

    def record(self, day: str, parts: int, **how: Any) -> None:
        """Such a day, as the writer leaves it."""
        write_journal(self.folder, self.records(day, parts, **how), f"{how.get('seed', 0)}.jsonl")

    def materialize(self, instance: dg.DagsterInstance, day: str) -> dg.ExecuteInProcessResult:
        """Run the job ``line`` for a day, as the sensor asks for it."""
        job = build_definitions(self.workshop.project).resolve_job_def("line")
        return job.execute_in_process(
            instance=instance,
            partition_key=str(day_key(CELL, day)),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
