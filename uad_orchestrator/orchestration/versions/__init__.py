"""The graph, and the expected version of every node in it, known before anything is computed. No Dagster."""
