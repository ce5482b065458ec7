"""The lineage index in DuckDB, and how two versions of an artifact differ. It can be rebuilt from provenance."""
