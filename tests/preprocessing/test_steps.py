"""Each step against what it promises, on images whose right answer is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from uad_orchestrator.preprocessing.presets import SHIPPED_PRESETS, Preset, resolve_preset
from uad_orchestrator.preprocessing.settings import STEP_METHODS, parse_step

GEOMETRIC = ("resize", "roi")
ALL_STEPS = [
    parse_step({step: method})
    for step, methods in STEP_METHODS.items()
    if step not in GEOMETRIC
    for method in methods
]


def apply(image, *steps):
    return Preset("test", tuple(parse_step(step) for step in steps)).apply(image)


@pytest.fixture(scope="module")
def scene():
    """A part on a bench: smooth background, edges, texture; uint8."""
    rng = np.random.default_rng(0)
    image = np.full((96, 128, 3), 90, np.uint8)
    cv2.circle(image, (60, 50), 30, (180, 140, 100), -1)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@settings(max_examples=25)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    st.sampled_from(ALL_STEPS),
)
def test_shape_and_dtype_are_kept_and_the_input_untouched(image, step):
    before = image.copy()
    for given_image in (image, image.astype(np.uint16) * 257):
        result = Preset("p", (step,)).apply(given_image)
        assert (result.shape, result.dtype) == (given_image.shape, given_image.dtype)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("step", ALL_STEPS, ids=lambda s: f"{s.STEP}-{s.recipe()['method']}")
def test_16_bit_is_the_same_picture_as_8_bit(scene, step):
    eight = Preset("p", (step,)).apply(scene).astype(float)
    sixteen = Preset("p", (step,)).apply(scene.astype(np.uint16) * 257) / 257
    assert np.abs(eight - sixteen).max() <= 0.51


@settings(max_examples=25)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(1))),
    st.sampled_from([step for step in ALL_STEPS if step.recipe()["method"] != "lab"]),
)
def test_a_grey_image_stays_grey_and_is_the_same_in_8_and_16_bits(channel, step):
    grey = np.repeat(channel, 3, axis=2)
    eight = Preset("p", (step,)).apply(grey)
    sixteen = Preset("p", (step,)).apply(grey.astype(np.uint16) * 257)
    assert int(np.ptp(eight.astype(int), axis=2).max()) <= 1
    assert np.abs(eight - sixteen / 257).max() <= 0.51  # one is rounded to 8 bits, the other to 16


def test_steps_agree_with_scikit_image(scene):
    """Within one level: scikit-image computes in float64."""
    from skimage import exposure, filters

    unit = scene / 255.0
    grey = np.repeat(scene[..., :1], 3, axis=2)
    low, high = np.percentile(grey, [2, 95])
    expected = {
        "gamma": (
            scene,
            {"illumination": {"method": "gamma", "gamma": 0.7}},
            exposure.adjust_gamma(unit, 0.7),
        ),
        "stretch": (
            grey,
            {"illumination": {"method": "contrast_stretch", "low": 2, "high": 95}},
            exposure.rescale_intensity(grey / 255.0, (low / 255, high / 255), (0, 1)),
        ),
        "gaussian": (
            scene,
            {"denoise": {"method": "gaussian", "sigma": 1.5}},
            filters.gaussian(unit, 1.5, mode="mirror", channel_axis=2),
        ),
        "median": (
            scene,
            {"denoise": "median"},
            np.stack(
                [filters.median(unit[..., c], np.ones((3, 3)), mode="nearest") for c in range(3)], axis=2
            ),
        ),
    }
    for name, (image, step, reference) in expected.items():
        assert np.abs(apply(image, step) - np.rint(reference * 255)).max() <= 1, name


def test_values_are_rounded_not_truncated():
    image = np.full((24, 24, 3), 201, np.uint8)
    image[:, ::3] = 200  # the mean of three columns is 200.67
    eighths = {"resize": {"method": "squash", "height": 8, "width": 8}}
    assert set(np.unique(apply(image, eighths))) == {201}
    assert set(np.unique(apply(image.astype(np.uint16), eighths))) == {201}
    brighter = apply(np.full((2, 2, 3), 100, np.uint8), {"illumination": {"method": "gamma", "gamma": 0.99}})
    assert brighter.max() == round((100 / 255) ** 0.99 * 255) == 101


@pytest.mark.parametrize("method", ["gray_world", "max_rgb"])
def test_white_balance_undoes_a_colour_cast(scene, method):
    gray = np.repeat(scene[..., :1], 3, axis=2)
    cast = np.rint(gray * np.array([0.9, 0.7, 0.5])).astype(np.uint8)
    balanced = apply(cast, {"white_balance": method}).astype(float)
    assert np.abs(balanced - balanced.mean(axis=2, keepdims=True)).max() <= 2.5
    assert np.abs(cast.astype(float) - cast.mean(axis=2, keepdims=True)).max() > 20


def test_white_balance_leaves_a_black_channel_black():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = 100
    assert apply(image, "white_balance")[..., 1:].max() == 0


def test_homomorphic_flattens_a_light_gradient_and_keeps_chromaticity(scene):
    fall_off = np.linspace(1.0, 0.4, scene.shape[1])[None, :, None]
    shaded = np.rint(scene * fall_off).astype(np.uint8)
    step = {"illumination": {"method": "homomorphic", "low_gain": 0.0, "cutoff": 0.25}}
    flat = apply(shaded, step).astype(float)

    def slope(image):
        background = image[:10].mean(axis=(0, 2))
        return background[:20].mean() / background[-20:].mean()

    assert slope(shaded) > 1.9
    assert slope(flat) < 1.35
    ratio = lambda image: image[30:70, 40:80, 0].mean() / image[30:70, 40:80, 2].mean()  # noqa: E731
    assert ratio(flat) == pytest.approx(ratio(shaded.astype(float)), rel=0.02)


def test_homomorphic_with_both_gains_one_changes_nothing(scene):
    same = apply(scene, {"illumination": {"method": "homomorphic", "low_gain": 1.0, "high_gain": 1.0}})
    assert np.abs(same.astype(int) - scene).max() <= 1


def test_gamma_is_the_power_of_the_unit_value():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    expected = np.rint((np.arange(256) / 255) ** 2.0 * 255)
    result = apply(ramp, {"illumination": {"method": "gamma", "gamma": 2.0}})
    assert np.abs(result[0, :, 0] - expected).max() <= 1


def test_contrast_stretch_reaches_black_and_white_and_spares_a_flat_image(scene):
    step = {"illumination": {"method": "contrast_stretch", "low": 0, "high": 100}}
    gray = np.repeat(scene[..., :1], 3, axis=2) // 2 + 40
    stretched = apply(gray, step)
    assert (stretched.min(), stretched.max()) == (0, 255)
    flat = np.full((9, 9, 3), 77, np.uint8)
    assert np.array_equal(apply(flat, step), flat)


def test_clahe_is_opencvs_on_a_gray_image(scene):
    gray = np.repeat(scene[..., :1], 3, axis=2)
    own = apply(gray, {"illumination": {"method": "clahe", "clip_limit": 3.0, "tiles": 4}})[..., 0]
    reference = cv2.createCLAHE(3.0, (4, 4)).apply(gray[..., 0])
    assert np.abs(own.astype(int) - reference).max() <= 1


@pytest.mark.parametrize("method", ["gaussian", "median", "bilateral"])
def test_denoise_lowers_noise_and_keeps_the_mean(scene, method):
    clean = apply(scene, {"denoise": method}).astype(float)
    corner = np.s_[:15, 95:]
    assert clean[corner].std() < 0.8 * scene[corner].std()
    assert clean.mean() == pytest.approx(scene.mean(), abs=0.5)


def test_color_space_gray_and_lab(scene):
    gray = apply(scene, {"color_space": "gray"})
    assert np.abs(gray[..., 0].astype(int) - cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY)).max() <= 1
    assert np.array_equal(gray[..., 0], gray[..., 2])
    lab = apply(scene, {"color_space": "lab"}).astype(int)
    assert np.abs(lab - cv2.cvtColor(scene, cv2.COLOR_RGB2Lab)).max() <= 2


def test_every_parameter_changes_pixels(scene):
    changes = {
        "max_rgb": {"percentile": 60.0},
        "homomorphic": {"cutoff": 0.1, "low_gain": 0.1, "high_gain": 1.5},
        "clahe": {"clip_limit": 6.0, "tiles": 3},
        "gamma": {"gamma": 0.6},
        "contrast_stretch": {"low": 10.0, "high": 80.0},
        "gaussian": {"sigma": 3.0},
        "median": {"size": 5},
        "bilateral": {"sigma_color": 0.5, "sigma_space": 5.0},
    }
    for step in ALL_STEPS:
        method = step.recipe()["method"]
        parameters = set(type(step).model_fields) - {"method"}
        assert parameters == set(changes.get(method, {})), f"{method}: give each parameter another value here"
        for name, value in changes.get(method, {}).items():
            other = parse_step({step.STEP: {"method": method, name: value}})
            assert not np.array_equal(
                Preset("a", (step,)).apply(scene), Preset("b", (other,)).apply(scene)
            ), name


def test_values_are_clipped_once_at_the_end_not_between_steps():
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8], image[:, 8:] = [250, 100, 100], [200, 90, 90]
    both = apply(image, {"white_balance": {"method": "max_rgb", "percentile": 50}}, {"denoise": "median"})
    assert len(np.unique(both[..., 0])) == 2


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_another_shape_or_dtype_is_an_error(image):
    with pytest.raises(ValueError, match="expected an RGB image"):
        Preset("plain").apply(image)


@pytest.mark.parametrize("name", SHIPPED_PRESETS)
def test_shipped_presets_run_twice_the_same(scene, name):
    preset = resolve_preset(name)
    assert np.array_equal(preset.apply(scene), preset.apply(scene))
    assert np.array_equal(preset.apply(scene), scene) == (name == "plain")


def test_the_robust_preset_undoes_most_of_a_camera_drift(scene):
    """White balance and brightness drift; the aim of industrial_camera_robust."""
    drifted = np.clip(scene * np.array([1.0, 0.85, 0.7]), 0, 255).astype(np.uint8)
    robust = resolve_preset("industrial_camera_robust")
    difference = np.abs(robust.apply(scene).astype(float) - robust.apply(drifted)).mean(axis=(0, 1))
    before = np.abs(scene.astype(float) - drifted).mean(axis=(0, 1))
    assert np.ptp(difference) < 0.25 * np.ptp(before)
