"""A detector, an embedder and a dataset layout of one's own, named in uad.yaml once this package is installed."""
