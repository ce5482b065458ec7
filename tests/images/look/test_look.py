"""An image in a few numbers."""

from __future__ import annotations

import numpy as np
import pytest

from uad_orchestrator.images.look.look import WINDOW, Look


def test_of_a_large_image_the_middle_is_looked_at() -> None:
    image = np.zeros((WINDOW + 200, WINDOW + 100, 3), np.uint8)
    image[100:-100, 50:-50] = 51
    look = Look.of(image)
    assert look.brightness == pytest.approx(0.2) and look.size == (WINDOW + 200, WINDOW + 100)


def test_another_shape_is_no_image() -> None:
    with pytest.raises(ValueError, match="expected an RGB image"):
        Look.of(np.zeros((4, 4), np.uint8))
