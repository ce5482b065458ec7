"""Where results live and how they are explained: artifacts addressed by version, their provenance, the index.

An artifact with its provenance file is the truth; the DuckDB index and the caches can be lost and rebuilt.
"""
