"""The Dagster code location: ``dagster dev -m uad_orchestrator.definitions``."""

import dagster as dg

from uad_orchestrator.garbage import keep_what_is_loaded

keep_what_is_loaded()  # before the rest, whose loading causes collections

from uad_orchestrator.orchestration.code_location import build_definitions  # noqa: E402
from uad_orchestrator.project import open_project  # noqa: E402

defs = dg.Definitions.merge(
    build_definitions(open_project()),
    dg.Definitions(executor=dg.in_process_executor),  # of runs that a click on assets starts
)
