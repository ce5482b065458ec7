"""The models of anomalib: trained here, or checkpoints of others; their results read before normalisation."""
