"""The colours of anomaly maps."""

from __future__ import annotations

import matplotlib
import numpy as np

from uad_orchestrator.reporting.pictures.heatmap import colours


def test_the_colours_are_matplotlibs_turbo() -> None:
    """Which costs too much to import for a sheet."""
    positions = np.linspace(0, 1, 73 * 137, dtype=np.float32).reshape(73, 137)
    turbo = (matplotlib.colormaps["turbo"](positions)[..., :3] * 255 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(colours(positions), turbo)
