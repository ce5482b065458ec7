"""From patch grids to anomaly maps, and the map sets on disk."""
