"""Connections of Dagster's storages that are kept from question to question."""
