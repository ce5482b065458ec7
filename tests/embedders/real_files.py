"""Real weights and images beside the repository, where there are any."""

from pathlib import Path

import pytest

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
needs_real_files = pytest.mark.skipif(not REAL.is_dir(), reason="there is no ../shared/real")


def real_weights(name: str) -> Path:
    return REAL / "weights" / name


def real_image(category: str, kind: str = "good"):
    from uad_orchestrator.images.decode import read_image

    return read_image(sorted((REAL / "data/mvtec_ad_reduced" / category / "test" / kind).iterdir())[0])
