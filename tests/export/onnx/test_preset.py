"""Each step of a preset against the one that detectors use, and which have no counterpart."""

import numpy as np
import pytest

from tests.export.onnx.cells import picture
from uad_orchestrator.export.onnx.preset import inexpressible, prepared
from uad_orchestrator.images.look import FittedOn, Look, tinted
from uad_orchestrator.preprocessing.presets import resolve_preset
from uad_orchestrator.preprocessing.settings import STEP_METHODS

torch = pytest.importorskip("torch", reason="needs the torch extra")

EXPRESSIBLE = [
    {"white_balance": "gray_world"},
    {"white_balance": "max_rgb"},
    {"white_balance": {"method": "max_rgb", "percentile": 100}},
    {"white_balance": {"method": "max_rgb", "percentile": 30}},
    {"illumination": "homomorphic"},
    {"illumination": {"method": "homomorphic", "cutoff": 0.02, "low_gain": 0.0, "high_gain": 1.5}},
    {"illumination": {"method": "homomorphic", "cutoff": 1.0, "high_gain": 1.3}},
    {"illumination": {"method": "gamma", "gamma": 0.6}},
    {"illumination": "contrast_stretch"},
    {"illumination": {"method": "contrast_stretch", "low": 60, "high": 100}},
    {"denoise": {"method": "gaussian", "sigma": 2.3}},
    {"denoise": "median"},
    {"denoise": {"method": "median", "size": 5}},
    {"color_space": "gray"},
    {"resize": {"method": "scale", "factor": 0.37}},
    {"resize": {"method": "scale", "factor": 1.7}},
    {"resize": {"method": "shorter_edge", "pixels": 50}},
    {"resize": {"method": "squash", "height": 40, "width": 131}},
]
NOT = {"illumination: clahe", "denoise: bilateral", "color_space: lab"}


def levels(steps: list, image: np.ndarray, tint=None) -> np.ndarray:
    """``(h, w, 3)`` whole numbers, as the graph makes them."""
    preset = resolve_preset("own", {"own": steps})
    unit = prepared(preset, torch.from_numpy(image).permute(2, 0, 1).float(), tint)
    return (unit * 255).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(72, 96), (31, 17), (150, 64)], ids=str)
@pytest.mark.parametrize("step", EXPRESSIBLE, ids=str)
def test_a_step_gives_the_same_pixels(step: dict, size: tuple[int, int]) -> None:
    image = picture(3, *size)
    expected = resolve_preset("own", {"own": [step]}).apply(image).astype(int)
    found = levels([step], image)
    assert found.shape == expected.shape
    off = np.abs(found.round().astype(int) - expected)
    assert off.max() <= 1 and (off > 0).mean() < 1e-2, "but for values that lie between two levels"
    assert expected.shape != image.shape or (expected != image).any()


@pytest.mark.parametrize(
    "image", [np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8)], ids=["0", "255"]
)
def test_a_flat_picture_stays_finite_as_ours(image: np.ndarray) -> None:
    steps = [
        {"white_balance": "gray_world"},
        {"illumination": "contrast_stretch"},
        {"white_balance": "max_rgb"},
    ]
    expected = resolve_preset("own", {"own": steps}).apply(image)
    assert np.array_equal(levels(steps, image), expected)


def test_every_other_method_is_named() -> None:
    """One that is added is either written here, or refused."""
    every = {(step, method) for step, methods in STEP_METHODS.items() for method in methods}
    known = {
        (step, value if isinstance(value, str) else value["method"])
        for e in EXPRESSIBLE
        for step, value in e.items()
    }
    for step, method in sorted(every - known - {("roi", m) for m in STEP_METHODS["roi"]}):
        named = inexpressible(resolve_preset("own", {"own": [{step: method}]}))
        assert named == [f"preset step {step}: {method}"]
        assert f"{step}: {method}" in NOT
    assert all(inexpressible(resolve_preset("own", {"own": [step]})) == [] for step in EXPRESSIBLE)


def test_a_grey_picture_gets_the_tint_that_infer_gives_it() -> None:
    colour = picture(3)
    grey = np.repeat(colour.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
    tint = FittedOn.of([Look.of(colour)]).tint
    assert tint is not None
    assert np.array_equal(levels([], grey, tint).round(), tinted(grey, tint))
    assert np.array_equal(levels([], colour, tint).round(), colour)
    flat = np.full_like(grey, 90)
    assert np.array_equal(levels([], flat, tint).round(), flat)
