"""Pixel metrics: counts over order-preserving keys in one pass, regions, sPRO, AUPIMO."""
