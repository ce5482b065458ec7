"""The memory-bank family: rows of patch embeddings, and the distance to the nearest of them."""
