"""A model of anomalib trained here: on which normals, by which engine, and gone on with where it was killed."""
