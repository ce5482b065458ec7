"""Figures, heat maps, contact sheets."""
