"""The Dagster code location: ``dagster dev -m uad_orchestrator.definitions``."""

from uad_orchestrator.orchestration.code_location import build_definitions
from uad_orchestrator.project import open_project

defs = build_definitions(open_project())
