"""Embedders: from an image to patch embeddings, on the CPU or a device, with classical features or a network.

``create_embedder`` makes one from its settings; an object with the methods of ``PatchEmbedder`` is one, too. What is
known of an embedder without loading it is its ``EmbedderSpec``, of which a package may bring more.
"""

from uad_orchestrator.embedders.create import (
    create_embedder,
    embedder_recipe,
    embedder_spec,
    known_embedders,
    resolve_settings,
    weight_file,
)
from uad_orchestrator.embedders.family import EmbedderSpec
from uad_orchestrator.embedders.input_plan import InputPlan, check_image, plan_input
from uad_orchestrator.embedders.protocol import PatchEmbedder, PatchEmbedding, Region, TextEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import WeightsError

__all__ = [
    "EmbedderSettings",
    "EmbedderSpec",
    "InputPlan",
    "PatchEmbedder",
    "PatchEmbedding",
    "Region",
    "TextEmbedder",
    "WeightsError",
    "check_image",
    "create_embedder",
    "embedder_recipe",
    "embedder_spec",
    "known_embedders",
    "plan_input",
    "resolve_settings",
    "weight_file",
]
