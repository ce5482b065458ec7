"""The memory bank: which patch embeddings it keeps, how lonely each is, and the search in it.

All of it works on ``(n, d)`` float32 rows and takes its seeds explicitly; the same rows are chosen and found on any
machine.
"""

from uad_orchestrator.memory.approximate import ApproximateNeighbors
from uad_orchestrator.memory.coreset import coverage, select_coreset
from uad_orchestrator.memory.nearest import NearestNeighbors

__all__ = ["ApproximateNeighbors", "NearestNeighbors", "coverage", "select_coreset"]
