"""The text tower of an OpenCLIP model: prompts into the joint space. Works offline: open_clip ships the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uad_orchestrator.embedders.open_clip.model import text_tower
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.torch_device import choose_device
from uad_orchestrator.embedders.weights import random_seed

VERSION = 1
TEXTS_PER_PASS = 64


class OpenClipText:
    """Text embeddings; the tower is built and its weights are read with the first text.

    Args:
        settings: resolved settings of the embedder whose text tower this is.
        weights: its weight file; None: random ones.
        device: ``auto``, ``cpu``, ``cuda``...
    """

    def __init__(self, settings: EmbedderSettings, weights: Path | None, device: str = "auto") -> None:
        self.settings = settings
        self.weights = weights
        self.device = device

    def recipe(self) -> dict[str, Any]:
        """Everything but the weights that decides the numbers; image size and layers do not."""
        seed = random_seed(self.settings)
        random = {} if seed is None else {"random_seed": seed}
        return {"text_tower": self.settings.name, "version": VERSION, **random}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """``(n, d)`` float32, not normalised.

        Raises:
            ValueError: a text is longer than the tower reads.
        """
        import torch

        tokens = self._tokens(texts)
        with torch.inference_mode():
            parts = [self._encode(part.to(self._device)) for part in tokens.split(TEXTS_PER_PASS)]
        return torch.cat(parts).float().cpu().numpy()

    def _encode(self, tokens: Any) -> Any:
        """open_clip's ``encode_text`` for ``(n, length)`` tokens: it reads only as far as the longest text reaches.

        Attention is causal and the end token is what is taken, so the padding behind it changes nothing.
        """
        import torch

        model, length = self._model, tokens.shape[1]
        embedded = model.token_embedding(tokens) + model.positional_embedding[:length]
        read = model.ln_final(model.transformer(embedded, attn_mask=model.attn_mask[:length, :length]))
        ends = tokens.argmax(dim=-1)  # the end token has the largest number
        return read[torch.arange(len(read), device=read.device), ends] @ model.text_projection

    @cached_property
    def _device(self) -> Any:
        return choose_device(self.device)

    @cached_property
    def _model(self) -> Any:
        return text_tower(self.settings, self.weights, self._device)

    def _tokens(self, texts: Sequence[str]) -> Any:
        import open_clip

        tokenizer = open_clip.SimpleTokenizer(context_length=self._model.context_length)
        longest = tokenizer.context_length - 2  # a start and an end token stand around the text
        counts = [len(tokenizer.encode(text)) for text in texts]
        for text, count in zip(texts, counts, strict=True):
            if count > longest:
                raise ValueError(
                    f"prompts: {text!r} has {count} tokens, {self.settings.name} reads {longest}: shorten it"
                )
        return tokenizer(list(texts))[:, : max(counts) + 2]
