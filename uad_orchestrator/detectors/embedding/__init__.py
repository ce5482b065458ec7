"""Images on their way to a detector: placed, tiled, embedded once, read from the cache."""
