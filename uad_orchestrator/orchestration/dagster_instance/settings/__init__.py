"""An instance's settings, Dagster's ``dagster.yaml``: those for more than one machine, and what does not fit ours."""
