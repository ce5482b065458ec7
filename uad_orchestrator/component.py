"""The benchmark as a Dagster component: ``type: uad_orchestrator.UadBenchmark`` in a ``defs.yaml``.

``dg list components`` imports this module in every environment the package is installed in, and one import that fails
breaks that list for all packages: so it imports nothing but Dagster until definitions are built.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    from uad_orchestrator.project import Project


class UadBenchmark(dg.Component, dg.Model, dg.Resolvable):
    """A benchmark of unsupervised visual anomaly detection: its assets, checks, jobs, sensors and schedules.

    The benchmark itself is described by the ``uad.yaml`` in ``home``. The other attributes say how it appears in
    Dagster; one that is given stands in place of the same key in that file's ``dagster`` section, ``key_prefix`` in
    place of ``name_prefix``, too. Two benchmarks in one project need different key prefixes.
    """

    home: str = Field(
        description="Folder of the benchmark's uad.yaml; a relative path starts at the folder of this defs.yaml."
    )
    key_prefix: str | list[str] | None = Field(
        None, description="Put before every asset key, and before the names of jobs, sensors and schedules."
    )
    group: str | None = Field(
        None, description="The group all assets are in; default: dataset, settings and benchmark."
    )
    pools: dict[str, str] | None = Field(
        None, description="Of a computed asset, the pool whose limit it is run under: {memory_bank: gpu}."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the project in ``home``.

        Raises:
            ProjectError: ``home`` has no uad.yaml, or the file or an attribute is wrong; it says which, and where.
        """
        from uad_orchestrator.orchestration.code_location import build_definitions
        from uad_orchestrator.orchestration.dagster_instance.component_place import place_of

        return build_definitions(self.project(place_of(context)))

    def project(self, place: Path) -> Project:
        """The project in ``home``, named in Dagster as the attributes say.

        Args:
            place: the file that the component is described in.
        """
        from pydantic import ValidationError

        from uad_orchestrator.project import PROJECT_FILE, ProjectError, SettingProblem, load_project
        from uad_orchestrator.project.errors import model_problems
        from uad_orchestrator.project.settings import DagsterSettings

        home = (place.parent / Path(self.home).expanduser()).resolve()
        if not (home / PROJECT_FILE).is_file():
            what = f"is {self.home!r}, but there is no {PROJECT_FILE} in {home}"
            advice = (
                f"a relative path starts at {place.parent}; `uad init --home {home}` writes a project file"
            )
            raise ProjectError(place, [SettingProblem(("attributes", "home"), what, advice)])
        # A weight file that is gone fails its own cells, not the code location they are in.
        project = load_project(home, allow_missing_files=True)
        names = project.dagster.model_dump() | self.model_dump(exclude={"home"}, exclude_none=True)
        try:
            dagster = DagsterSettings.model_validate(names)
        except ValidationError as error:
            problems = model_problems(error, DagsterSettings, names, ("attributes",))
            raise ProjectError(place, problems) from error
        if self.key_prefix is not None:
            dagster = dagster.model_copy(update={"name_prefix": dagster.key_prefix})
        return project.model_copy(update={"dagster": dagster})
