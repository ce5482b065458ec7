"""``uad export``: results to hand over, a file per kind."""
