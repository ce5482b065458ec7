"""A small embedder and small images, so that these tests need neither torch nor weights."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.embedders.protocol import PatchEmbedding


class CellMeans:
    """Mean and spread of each colour in square cells; counts the images it is given."""

    def __init__(self, cell: int = 8, scale: float = 1.0, precision: str | None = "float16") -> None:
        self.cell, self.scale, self.precision, self.seen = cell, scale, precision, 0

    def recipe(self) -> dict[str, Any]:
        declared = {} if self.precision is None else {"precision": self.precision}
        return {"name": "cell_means", "cell": self.cell, "scale": self.scale, **declared}

    def embed(self, image: np.ndarray) -> PatchEmbedding:
        return self.embed_batch([image])[0]

    def embed_batch(self, images: Sequence[np.ndarray]) -> list[PatchEmbedding]:
        self.seen += len(images)
        return [self._embed(image) for image in images]

    def _embed(self, image: np.ndarray) -> PatchEmbedding:
        h, w = image.shape[:2]
        gh, gw = h // self.cell, w // self.cell
        cells = (
            image[: gh * self.cell, : gw * self.cell]
            .astype(np.float64)
            .reshape(gh, self.cell, gw, self.cell, 3)
        )
        rows = np.concatenate([cells.mean(axis=(1, 3)), cells.std(axis=(1, 3))], axis=-1).reshape(gh * gw, 6)
        return PatchEmbedding((rows * self.scale).astype(np.float32), (gh, gw), (h, w))


class WithTexts(CellMeans):
    """Embeds a text as random numbers that depend on it; counts the texts it is given."""

    def __init__(self, tower: str = "a", **values: Any) -> None:
        super().__init__(**values)
        self.tower, self.texts = tower, 0

    def text_recipe(self) -> dict[str, Any]:
        return {"tower": self.tower}

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        return np.stack([self._row(text) for text in texts])

    def _row(self, text: str) -> np.ndarray:
        seed = int.from_bytes(sha256(f"{self.tower} {text}".encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(6).astype(np.float32)


def textures(n: int, seed: int = 0, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Smooth random textures: normal images that differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (n, 1 + size[0] // 12, 1 + size[1] // 12, 3))
    return [np.kron(c, np.ones((12, 12, 1)))[: size[0], : size[1]].astype(np.uint8) for c in coarse]


def with_spot(image: np.ndarray, top: int = 16, left: int = 24) -> np.ndarray:
    """The image with a bright saturated square: a defect."""
    spoiled = image.copy()
    spoiled[top : top + 8, left : left + 8] = (255, 0, 255)
    return spoiled


@pytest.fixture
def embedder() -> CellMeans:
    return CellMeans()


@pytest.fixture
def patchcore(embedder: CellMeans) -> Detector:
    return create_detector(
        "vision_patchcore", embedder=embedder, coreset={"method": "none"}, contamination=0.2
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A PaDiM and a PatchCore of anomalib, each a ``Trained``: in every format."""
    pytest.importorskip("anomalib", reason="extra anomalib not installed")
    from tests.detectors.anomalib_models import MODELS, train_and_export

    return {name: train_and_export(name, tmp_path_factory.mktemp(name)) for name in MODELS}
