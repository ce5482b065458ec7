"""A real OpenCLIP model, small enough for tests: three blocks of width 32, random weights."""

import json
from pathlib import Path

import pytest

from uad_orchestrator.embedders.create import create_embedder
from uad_orchestrator.embedders.open_clip.vit import OpenClipEmbedder
from uad_orchestrator.embedders.settings import EmbedderSettings

TINY = "ViT-Tiny-8-064"
TINY_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TINY_SETTINGS = {"name": f"open_clip/{TINY}", "weights": "random:0"}


def register_tiny(folder: Path) -> None:
    """Make the tiny model known to open_clip in this process; skips the test where it is not installed."""
    open_clip = pytest.importorskip("open_clip", reason="needs the clip extra")
    path = folder / f"{TINY}.json"
    path.write_text(json.dumps(TINY_CONFIG))
    open_clip.add_model_config(path)


def tiny_embedder(**values) -> OpenClipEmbedder:
    return create_embedder(EmbedderSettings(**{**TINY_SETTINGS, **values}))
