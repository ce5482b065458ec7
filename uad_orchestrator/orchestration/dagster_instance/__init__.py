"""Dagster's instance: where runs and events are recorded, and all that is not public in Dagster's API."""
