"""The HTTP service of one bundle."""
