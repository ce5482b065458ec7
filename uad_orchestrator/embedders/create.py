"""From the ``embedder:`` settings to an embedder, its recipe and its weight file."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from uad_orchestrator.embedders import filter_bank
from uad_orchestrator.embedders.protocol import PatchEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings


def known_embedders() -> list[str]:
    return ["filter_bank"]


def resolve_settings(settings: EmbedderSettings) -> EmbedderSettings:
    return _family(settings).resolve(settings)


def embedder_recipe(settings: EmbedderSettings) -> dict[str, Any]:
    return _family(settings).recipe(resolve_settings(settings))


def weight_file(settings: EmbedderSettings, base: Path) -> Path | None:
    return None


def create_embedder(
    settings: EmbedderSettings, weights: Path | None = None, device: str = "auto"
) -> PatchEmbedder:
    _family(settings)
    return filter_bank.FilterBank(settings)


def _family(settings: EmbedderSettings) -> Any:
    if settings.name == "filter_bank":
        return filter_bank
    close = get_close_matches(settings.name, known_embedders(), n=1)
    raise ValueError(
        f"embedder.name: {settings.name!r} is unknown" + (f": did you mean {close[0]!r}?" if close else "")
    )
