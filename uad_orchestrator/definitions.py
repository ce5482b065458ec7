"""The Dagster code location: ``dagster dev -m uad_orchestrator.definitions``."""

import dagster as dg

from uad_orchestrator.garbage import keep_what_is_loaded
from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.project import open_project

defs = dg.Definitions.merge(
    build_definitions(open_project()),
    dg.Definitions(executor=dg.in_process_executor),  # of runs that a click on assets starts
)
keep_what_is_loaded()
