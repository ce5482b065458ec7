"""The memory bank: its coreset and the exact search in it."""

from uad_orchestrator.memory.coreset import coverage, select_coreset
from uad_orchestrator.memory.nearest import NearestNeighbors

__all__ = ["NearestNeighbors", "coverage", "select_coreset"]
