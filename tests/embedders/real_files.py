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


def real_mask(category: str, kind: str, grid_shape: tuple[int, int]):
    """Patches of the grid that touch the defect of ``real_image``'s image, flat."""
    import cv2

    from uad_orchestrator.images.decode import read_mask

    path = sorted((REAL / "data/mvtec_ad_reduced" / category / "ground_truth" / kind).iterdir())[0]
    shares = cv2.resize(read_mask(path).astype("float32"), grid_shape[::-1], interpolation=cv2.INTER_AREA)
    return shares.ravel() > 0
