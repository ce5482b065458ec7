"""The graph as Dagster assets: read here first. Thin: read inputs, call one function, store, record."""
