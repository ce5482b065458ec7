"""The asset checks: what is odd about a dataset, a score table, a threshold or a report."""
