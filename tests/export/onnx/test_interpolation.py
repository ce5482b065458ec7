"""Resampling matrices against torch, OpenCV and our own maps."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the torch extra")

from uad_orchestrator.embedders import position_embedding  # noqa: E402
from uad_orchestrator.embedders.protocol import Region  # noqa: E402
from uad_orchestrator.export.onnx import interpolation  # noqa: E402
from uad_orchestrator.postprocess.anomaly_map import gaussian_blur, resize_to_image  # noqa: E402
from uad_orchestrator.preprocessing.resize import ResizeSquash, resize  # noqa: E402

SIDES = st.integers(1, 90)
WANTED = st.integers(2, 90)
"""torch 2.15 is off by a tenth and more where it antialiases to a width of 1, which no input has."""


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def tensor(count: int) -> torch.Tensor:
    """A size as the graph has it."""
    return torch.tensor(count)


@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@given(height=SIDES, width=SIDES, rows=WANTED, columns=WANTED)
@settings(max_examples=30)
def test_antialiased_is_torchs(how: str, height: int, width: int, rows: int, columns: int) -> None:
    image = torch.from_numpy(values(3, height, width))
    expected = torch.nn.functional.interpolate(
        image[None], size=(rows, columns), mode=how, align_corners=False, antialias=True
    )[0]
    matrices = (
        interpolation.antialiased(tensor(a), tensor(b), how) for a, b in ((height, rows), (width, columns))
    )
    assert torch.allclose(interpolation.stretched(image, *matrices), expected, atol=2e-5)


@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
@example(rows=16, columns=12)
@example(rows=16, columns=13)
@settings(max_examples=30)
def test_hub_positions_are_those_of_the_embedder(rows: int, columns: int) -> None:
    trained = torch.from_numpy(values(16, 12, 5))
    expected = position_embedding.hub_positions(trained, (rows, columns)).permute(2, 0, 1)
    unchanged = torch.tensor((rows, columns) == (16, 12))
    matrices = [interpolation.hub_positions(a, tensor(b), unchanged) for a, b in ((16, rows), (12, columns))]
    assert torch.allclose(interpolation.stretched(trained.permute(2, 0, 1), *matrices), expected, atol=1e-5)


@given(height=SIDES, width=SIDES, rows=st.integers(8, 90), columns=st.integers(8, 90))
@settings(max_examples=30)
def test_area_or_linear_is_the_presets(height: int, width: int, rows: int, columns: int) -> None:
    image = values(height, width, 3)
    expected = resize(image, ResizeSquash(height=rows, width=columns))
    matrices = [
        interpolation.area_or_linear(tensor(a), tensor(b)) for a, b in ((height, rows), (width, columns))
    ]
    found = interpolation.stretched(torch.from_numpy(image).permute(2, 0, 1), *matrices)
    assert (
        np.abs(found.permute(1, 2, 0).numpy() - expected).max() <= 1e-3
    )  # OpenCV leaves out slivers below 1e-3


@given(height=SIDES, width=SIDES, rows=SIDES, columns=SIDES, kept=st.floats(0.3, 1.0))
@settings(max_examples=30)
def test_laid_on_is_our_maps(height: int, width: int, rows: int, columns: int, kept: float) -> None:
    grid = values(height, width)
    expected = resize_to_image(grid, Region(0, 0, rows * kept, columns * kept), (rows, columns))
    found = torch.from_numpy(grid)
    for axis, size in ((1, columns), (0, rows)):
        found = interpolation.laid_on(found, axis, 0.0, torch.tensor(size * kept), tensor(size))
    assert np.abs(found.numpy() - expected).max() <= 1e-4


@given(height=SIDES, width=SIDES, sigma=st.sampled_from([0.4, 2.0, 4.0, 9.0]))
@settings(max_examples=30)
def test_blurred_is_opencvs(height: int, width: int, sigma: float) -> None:
    scores = values(height, width)
    side = 2 * int(4 * sigma + 0.5) + 1
    kernel = cv2.getGaussianKernel(side, sigma)[:, 0]
    found = interpolation.blurred(torch.from_numpy(scores)[None], kernel, "symmetric")[0]
    assert np.abs(found.numpy() - gaussian_blur(scores, sigma)).max() <= 1e-5
    expected = cv2.GaussianBlur(scores, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
    found = interpolation.blurred(torch.from_numpy(scores)[None], kernel, "reflect_101")[0]
    assert np.abs(found.numpy() - expected).max() <= 1e-5
