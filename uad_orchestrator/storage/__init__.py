"""Where results live and how they are explained: artifacts addressed by version, their provenance, the index.

An artifact with its provenance file is the truth; the DuckDB index and the caches can be lost and rebuilt.
"""

from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactDraft, ArtifactError, ArtifactStore
from uad_orchestrator.storage.collect import GarbageReport, Removed, collect_garbage
from uad_orchestrator.storage.embedding_cache import EmbeddingCache
from uad_orchestrator.storage.lineage.database import LineageError
from uad_orchestrator.storage.lineage.index import LineageIndex, SqlResult
from uad_orchestrator.storage.lineage.tree import LineageNode
from uad_orchestrator.storage.provenance import Provenance, ProvenanceError

__all__ = [
    "ArtifactDraft",
    "ArtifactError",
    "ArtifactKey",
    "ArtifactStore",
    "EmbeddingCache",
    "GarbageReport",
    "LineageError",
    "LineageIndex",
    "LineageNode",
    "Provenance",
    "ProvenanceError",
    "Removed",
    "SqlResult",
    "collect_garbage",
]
