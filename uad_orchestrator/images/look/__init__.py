"""How an image looks in a few numbers, and what a detector was fitted on: whether a new image is of that kind."""

from uad_orchestrator.images.look.fitted_on import FittedOn, tinted
from uad_orchestrator.images.look.look import Look, look_at, look_at_bands

__all__ = ["FittedOn", "Look", "look_at", "look_at_bands", "tinted"]
