"""Anomaly maps as others want them: the tree of MVTec's evaluation scripts, the archive of their server."""
